//! The nearest known name.

use super::schema::KEYS;
use super::schema::Key;
use super::schema::is_section;

/// How a key that nobody knows is cured, in a sentence: `section` is where it stood, `""` for the top.
pub(crate) fn for_unknown_key(section: &str, name: &str) -> String {
    if let Some(key) = KEYS.iter().find(|key| called(key, name)) {
        return match key.section() {
            "" => format!("this is called `{}` here, at the top of the file", key.name()),
            section => format!("this is called `{}` here, in section [{section}]", key.name()),
        };
    }
    let here = KEYS.iter().filter(|key| key.section() == section).map(Key::name);
    if let Some(near) = nearest(name, here.clone()) {
        return format!("did you mean `{near}`?");
    }
    if let Some(key) = KEYS.iter().find(|key| key.name() == name) {
        return match key.section() {
            "" => format!("`{name}` belongs at the top of the file, before the first section"),
            section => format!("`{name}` belongs in section [{section}]"),
        };
    }
    if section.is_empty() {
        if let Some(near) = nearest(name, sections()) {
            return format!("did you mean the section [{near}]?");
        }
        let names: Vec<_> = sections().map(|section| format!("[{section}]")).collect();
        return format!("remove it; the top of the file takes `realm` and the sections {}", names.join(", "));
    }
    if let Some(near) = nearest(name, KEYS.iter().map(Key::name)) {
        let home = KEYS.iter().find(|key| key.name() == near).map_or("", Key::section);
        let place =
            if home.is_empty() { "at the top of the file".to_owned() } else { format!("in [{home}]") };
        return format!("did you mean `{near}` {place}?");
    }
    let names: Vec<_> = here.map(|name| format!("`{name}`")).collect();
    format!("remove it; [{section}] takes {}", names.join(", "))
}

fn called(key: &Key, name: &str) -> bool {
    let same = |word: &&str| word.replace('-', "_") == name.replace('-', "_");
    key.also_called.iter().any(same)
}

fn sections() -> impl Iterator<Item = &'static str> {
    let mut last = "";
    KEYS.iter().map(Key::section).filter(move |section| {
        let new = is_section(section) && *section != last;
        last = section;
        new
    })
}

/// The candidate nearest to `word`, if one is near enough to be a slip of the keyboard.
pub(crate) fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // Longer texts are no slips, and the distance costs the product of both lengths.
    const WORD_LEN_MAX: usize = 64;
    if word.len() > WORD_LEN_MAX {
        return None;
    }
    let allowed = (word.chars().count() / 3).clamp(1, 3);
    candidates
        .map(|candidate| (distance(&word.to_lowercase(), candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Insertions, deletions, replacements and swaps of neighbours that lead from `a` to `b` (optimal string
/// alignment).
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    for (j, cell) in rows[0].iter_mut().enumerate() {
        *cell = j;
    }
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (a, b, expected) in [
            ("", "", 0),
            ("", "abc", 3),
            ("realm", "realm", 0),
            ("relm", "realm", 1),
            ("raelm", "realm", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(a, b), expected, "{a} {b}");
            assert_eq!(distance(b, a), expected, "{b} {a}");
        }
    }

    #[test]
    fn a_slip_is_found_and_another_word_is_not() {
        let words = || ["secrets", "users", "nonce_lifetime"].into_iter();
        assert_eq!(nearest("secrests", words()), Some("secrets"));
        assert_eq!(nearest("Users", words()), Some("users"));
        assert_eq!(nearest("certificates", words()), None);
        assert_eq!(nearest(&"s".repeat(100_000), words()), None);
    }

    #[test]
    fn an_unknown_key_is_cured_by_what_is_known_of_it() {
        for (section, name, cure) in [
            ("", "relm", "did you mean `realm`?"),
            ("", "secrets", "`secrets` belongs in section [auth]"),
            ("relay", "realm", "`realm` belongs at the top of the file, before the first section"),
            ("", "limts", "did you mean the section [limits]?"),
            ("auth", "static_auth_secret", "this is called `secrets` here, in section [auth]"),
            ("", "external-ip", "this is called `addresses` here, in section [relay]"),
            ("log", "levle", "did you mean `level`?"),
            ("log", "colour", "remove it; [log] takes `format`, `level`"),
            ("log", "workrs", "did you mean `workers` in [relay]?"),
        ] {
            assert_eq!(for_unknown_key(section, name), cure);
        }
    }
}
