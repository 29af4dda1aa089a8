//! The ratios as one picture: a bar for each line, and a mark at what is to be reached.

use plotters::prelude::BLACK;
use plotters::prelude::Color as _;
use plotters::prelude::DrawingAreaErrorKind;
use plotters::prelude::IntoDrawingArea as _;
use plotters::prelude::PathElement;
use plotters::prelude::RGBColor;
use plotters::prelude::Rectangle;
use plotters::prelude::SVGBackend;
use plotters::prelude::Text;
use plotters::prelude::WHITE;
use plotters::style::IntoFont as _;

use super::figures::Judged;
use super::figures::Verdict;
use super::lines::Goal;

const WIDTH: i32 = 960;
const BAR: i32 = 22;
const NAMES: i32 = 380;
const TOP: i32 = 44;
/// The ratio at the right edge.
const RATIO_MAX: f64 = 1.4;

const REACHED: RGBColor = RGBColor(46, 125, 50);
const MISSED: RGBColor = RGBColor(198, 40, 40);
const GOAL: RGBColor = RGBColor(33, 33, 33);

/// The picture as SVG; of lines that have no ratio nothing is drawn.
///
/// # Errors
/// What the drawing library says.
pub(crate) fn svg(judged: &[Judged], title: &str) -> Result<String, String> {
    let bars: Vec<_> = judged.iter().filter_map(|each| Some((each, each.ratio?))).collect();
    let height = TOP + BAR * i32::try_from(bars.len()).unwrap_or(0) + 20;
    let mut out = String::new();
    draw(&mut out, &bars, title, height)?;
    Ok(out)
}

fn place(ratio: f64) -> i32 {
    NAMES + (f64::from(WIDTH - NAMES - 70) * ratio.clamp(0.0, RATIO_MAX) / RATIO_MAX) as i32
}

fn wrong<E: std::error::Error + Send + Sync>(error: DrawingAreaErrorKind<E>) -> String {
    error.to_string()
}

fn draw(out: &mut String, bars: &[(&Judged, f64)], title: &str, height: i32) -> Result<(), String> {
    let size = (WIDTH.unsigned_abs(), height.unsigned_abs());
    let area = SVGBackend::with_string(out, size).into_drawing_area();
    let (large, small) = (("sans-serif", 16).into_font(), ("sans-serif", 12).into_font());
    area.fill(&WHITE).map_err(wrong)?;
    area.draw(&Text::new(title.to_owned(), (10, 10), large.color(&BLACK))).map_err(wrong)?;
    let one = place(1.0);
    area.draw(&PathElement::new([(one, TOP - 8), (one, height - 12)], BLACK.mix(0.3).stroke_width(1)))
        .map_err(wrong)?;
    for (row, (judged, ratio)) in (0..).zip(bars) {
        let top = TOP + row * BAR;
        let line = judged.line;
        let name = format!("{}: {}", line.id, line.work);
        area.draw(&Text::new(name, (10, top + 4), small.color(&BLACK))).map_err(wrong)?;
        let ink = if judged.verdict == Verdict::Missed { MISSED } else { REACHED };
        let bar = [(NAMES, top + 3), (place(*ratio), top + BAR - 4)];
        area.draw(&Rectangle::new(bar, ink.mix(0.8).filled())).map_err(wrong)?;
        let text = Text::new(format!("{ratio:.2}"), (place(*ratio) + 6, top + 4), small.color(&BLACK));
        area.draw(&text).map_err(wrong)?;
        if let Goal::Part { reach, .. } = line.goal {
            let mark = [(place(reach), top), (place(reach), top + BAR - 1)];
            area.draw(&PathElement::new(mark, GOAL.stroke_width(2))).map_err(wrong)?;
        }
    }
    area.present().map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::super::figures::Figures;
    use super::super::lines::COTURN;
    use super::super::lines::SOCKETS;
    use super::*;

    #[test]
    fn a_bar_for_each_ratio_and_a_mark_at_each_goal() {
        let mut figures = Figures::default();
        for (id, ours) in [("up-1", 0.5), ("down-1", 99.0), ("audio-p999", 0.7)] {
            figures.note(id, SOCKETS, Some(ours));
            figures.note(id, COTURN, Some(1.0));
        }
        figures.note("idle", SOCKETS, Some(3.0));
        let svg = svg(&figures.judge(), "A & B").expect("drawn");
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"), "{svg}");
        assert_eq!(svg.matches("#2E7D32").count(), 2, "two that are not missed: {svg}");
        assert_eq!(svg.matches("#C62828").count(), 1, "one that is missed: {svg}");
        assert_eq!(svg.matches("#212121").count(), 2, "p99.9 has no goal: {svg}");
        assert!(svg.contains("A &amp; B") && svg.contains("99.00") && !svg.contains("memory"), "{svg}");
        assert!(place(99.0) < WIDTH && place(-1.0) == NAMES);
    }
}
