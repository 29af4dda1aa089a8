//! How the page looks: in the light and in the dark, on a wide screen and on a telephone.

/// The style sheet. What is wrong is told by a word and a frame, not by its colour alone.
pub(super) const STYLE: &str = "\
:root { color-scheme: light dark;
  --page: #f6f7f9; --card: #ffffff; --words: #1c2330; --faint: #5b6573; --grid: #d9dee5; --accent: #0b6bcb;
  --direct: #dff3e8; --udp: #e2edfb; --tcp: #f3ecd8; --tls: #f6e3d3; --proxy: #efe1f5; --none: #e6e9ee;
  --good: #12805c; --bad: #b3261e; --good-page: #e4f4ed; --bad-page: #fbe9e7; }
@media (prefers-color-scheme: dark) { :root {
  --page: #11151b; --card: #191f28; --words: #e4e8ee; --faint: #9aa6b5; --grid: #333d4a; --accent: #62b0f8;
  --direct: #173a2c; --udp: #1a3150; --tcp: #3b3417; --tls: #42291a; --proxy: #37234a; --none: #262d37;
  --good: #4fcf9f; --bad: #ff8a80; --good-page: #16302a; --bad-page: #3a1f1f; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.25rem; max-width: 84rem; background: var(--page); color: var(--words);
  font: 16px/1.5 system-ui, -apple-system, 'Segoe UI', Roboto, 'Liberation Sans', sans-serif; }
h1 { font-size: 1.45rem; line-height: 1.25; margin: .25rem 0; overflow-wrap: anywhere; }
h2 { font-size: 1.12rem; margin: 2rem 0 .6rem; }
p { margin: .35rem 0; overflow-wrap: anywhere; }
a { color: inherit; }
.faint, dt { color: var(--faint); }
.faint { font-size: .87rem; }
.verdict { margin: 1rem 0; padding: .8rem 1rem; border-radius: .5rem; border-left: .35rem solid; }
.verdict strong { font-size: 1.15rem; }
.verdict.good { border-color: var(--good); background: var(--good-page); }
.verdict.bad { border-color: var(--bad); background: var(--bad-page); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1rem; margin: .5rem 0; }
dd { margin: 0; overflow-wrap: anywhere; }
.wide { overflow-x: auto; background: var(--card); border-radius: .5rem; padding: .6rem; }
table { border-collapse: collapse; font-size: .87rem; font-variant-numeric: tabular-nums; }
.matrix { border-spacing: 3px; border-collapse: separate; width: 100%; table-layout: fixed;
  --name: 10.5rem; --cell: 4.6rem; min-width: calc(var(--name) + var(--places) * var(--cell)); }
.matrix th { font-weight: 600; color: var(--faint); padding: .3rem .1rem; text-align: center; }
.matrix tr > :first-child { width: var(--name); text-align: left; padding-right: .3rem; }
.matrix th[scope=row] { position: sticky; left: 0; background: var(--card); }
.matrix td { border-radius: .35rem; padding: .35rem .1rem; text-align: center; }
.matrix td a { text-decoration: none; display: block; }
.matrix b { display: block; }
.matrix span { color: var(--faint); font-size: .8rem; white-space: nowrap; }
.direct { background: var(--direct); } .udp { background: var(--udp); } .tcp { background: var(--tcp); }
.tls { background: var(--tls); } .proxy { background: var(--proxy); } .none, .failed { background: var(--none); }
.wrong { outline: 2px solid var(--bad); outline-offset: -2px; }
.wrong b { color: var(--bad); }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; margin: .6rem 0 0; padding: 0; font-size: .87rem; }
.legend i { display: inline-block; width: 1.1rem; height: .9rem; margin-right: .4rem; vertical-align: -.1rem;
  border-radius: .2rem; border: 1px solid var(--grid); }
.list { width: 100%; }
.list th, .list td { padding: .32rem .55rem; text-align: left; vertical-align: top; border-bottom: 1px solid var(--grid); }
.list th { color: var(--faint); font-weight: 600; white-space: nowrap; }
.list tr:last-child td { border-bottom: 0; }
.list .number { text-align: right; white-space: nowrap; }
.list tr.off td { color: var(--bad); }
.list tr:target td { background: var(--udp); }
summary { cursor: pointer; font-weight: 600; }
details ul { margin: .2rem 0 .4rem; padding-left: 1.1rem; }
footer { margin-top: 2rem; }
@media (max-width: 60rem) {
  .matrix { --name: 5.2rem; --cell: 4rem; font-size: .8rem; }
  .matrix th { font-size: .66rem; padding: .3rem 0; }
  .matrix span { font-size: .72rem; }
}
@media (max-width: 40rem) {
  body { padding: .8rem; }
  h1 { font-size: 1.25rem; }
  dl { grid-template-columns: 1fr; gap: 0; }
  dd { margin-bottom: .4rem; }
  .wide { padding: .35rem; }
  .matrix { --name: 4.7rem; }
  .list { font-size: .78rem; }
  .list th, .list td { padding: .3rem .28rem; }
  .list .p95, .list .expected { display: none; }
  .list tr.off td[data-expected]::after { content: ' (expected: ' attr(data-expected) ')'; }
}
@media print { body { max-width: none; } .wide { break-inside: avoid; } }
";

/// What the words mean, for who reads the page and not the manual.
pub(super) const MEANING: &str = "\
<h2>What the words mean</h2>
<dl>
<dt>direct</dt><dd>Media flows between the two places without a relay.</dd>
<dt>udp, tcp, tls, proxy</dt><dd>Media flows through a relay, and this carries it there; where both sides use one, the less
direct of the two.</dd>
<dt>failed</dt><dd>No pair of candidates works.</dd>
<dt>expected</dt><dd>How a call between these places has to end by RFC 4787 and RFC 8445, whatever was seen here.</dd>
<dt>time to connect</dt><dd>From when both sides were told to call each other until both could send media: the median, and what
95 of 100 calls took at most.</dd>
</dl>
";
