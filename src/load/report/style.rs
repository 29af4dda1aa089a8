//! How the page looks: in the light and in the dark, on a wide screen and on a telephone.

/// The style sheet. The colours of the plots are told apart by people who do not see red and green as others do.
pub(super) const STYLE: &str = "\
:root { color-scheme: light dark;
  --page: #f6f7f9; --card: #ffffff; --words: #1c2330; --faint: #5b6573; --grid: #d9dee5;
  --first: #0b6bcb; --second: #c2570c; --third: #12805c; --fourth: #8a3fa8; --limit: #b3261e;
  --good: #12805c; --bad: #b3261e; --good-page: #e4f4ed; --bad-page: #fbe9e7; --plain-page: #e7eef8; }
@media (prefers-color-scheme: dark) { :root {
  --page: #11151b; --card: #191f28; --words: #e4e8ee; --faint: #9aa6b5; --grid: #333d4a;
  --first: #62b0f8; --second: #f3a256; --third: #4fcf9f; --fourth: #cf9be6; --limit: #ff8a80;
  --good: #4fcf9f; --bad: #ff8a80; --good-page: #16302a; --bad-page: #3a1f1f; --plain-page: #1b2b40; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.25rem; max-width: 76rem; background: var(--page); color: var(--words);
  font: 16px/1.5 system-ui, -apple-system, 'Segoe UI', Roboto, 'Liberation Sans', sans-serif; }
h1 { font-size: 1.45rem; line-height: 1.25; margin: .25rem 0 .25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.12rem; margin: 2rem 0 .6rem; }
h3 { font-size: 1rem; margin: 0; }
p { margin: .35rem 0; }
.faint, figcaption p, dt { color: var(--faint); }
.faint, figcaption p { font-size: .87rem; }
.verdict { margin: 1rem 0; padding: .8rem 1rem; border-radius: .5rem; border-left: .35rem solid var(--first);
  background: var(--plain-page); }
.verdict strong { font-size: 1.15rem; }
.verdict p, .verdict li { overflow-wrap: anywhere; }
.verdict ul { margin: .3rem 0 0; padding-left: 1.2rem; }
.good { border-color: var(--good); background: var(--good-page); }
.bad { border-color: var(--bad); background: var(--bad-page); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.2rem, 1fr)); gap: .7rem; margin: 1rem 0; }
.tile { background: var(--card); border-radius: .5rem; padding: .6rem .8rem; }
.tile b { display: block; font-size: 1.25rem; line-height: 1.4; white-space: nowrap; font-variant-numeric: tabular-nums; }
.tile span { color: var(--faint); font-size: .82rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1rem; margin: .5rem 0; }
dd { margin: 0; overflow-wrap: anywhere; }
.figures { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(30rem, 100%), 1fr)); gap: 1rem; }
figure { margin: 0; padding: .9rem 1rem .5rem; background: var(--card); border-radius: .5rem; min-width: 0; }
figure svg { display: block; width: 100%; height: auto; }
figure svg text { font-family: inherit; }
figure .narrow { display: none; }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: .1rem 1rem; margin: .4rem 0 .2rem; padding: 0;
  font-size: .87rem; }
.legend i { display: inline-block; width: 1.1rem; height: .22rem; margin-right: .4rem; vertical-align: middle;
  border-radius: .1rem; }
.table { overflow-x: auto; background: var(--card); border-radius: .5rem; padding: .3rem .6rem; }
table { border-collapse: collapse; width: 100%; font-size: .87rem; font-variant-numeric: tabular-nums; }
th, td { padding: .32rem .55rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--grid); }
th { color: var(--faint); font-weight: 600; }
tr:last-child td { border-bottom: 0; }
.word { text-align: left; }
details { margin: 2rem 0 1rem; }
summary { cursor: pointer; font-weight: 600; font-size: 1.12rem; }
code { overflow-wrap: anywhere; }
footer { margin-top: 2rem; }
@media (max-width: 40rem) {
  body { padding: .8rem; }
  h1 { font-size: 1.25rem; }
  dl { grid-template-columns: 1fr; gap: 0; }
  dd { margin-bottom: .4rem; }
  .tiles { grid-template-columns: repeat(2, 1fr); gap: .5rem; }
  figure { padding: .8rem .7rem .4rem; }
  figure .wide { display: none; }
  figure .narrow { display: block; }
}
@media print { body { max-width: none; } figure, .table { break-inside: avoid; } }
";

/// What the figures of pairs of agents mean, for who reads the page and not the manual.
pub(super) const MEANING_OF_PAIRS: &str = "\
<details open><summary>What the figures mean</summary>
<dl>
<dt>connected</dt><dd>Data came through both ways, at the one side's word and at the other's; that an agent believes in a
connection is not enough.</dd>
<dt>time to connect</dt><dd>From when both sides begin to gather candidates until that data has come through. What one side has
to tell the other takes no time: there is no signalling between them.</dd>
<dt>p50, p99</dt><dd>So many percents of the pairs took at most so long.</dd>
<dt>candidates gathered</dt><dd>When a side had all its candidates, the allocation included.</dd>
<dt>by</dt><dd>The kind of candidate at each end, and what carried it to its relay.</dd>
</dl></details>
";

/// What the figures mean, for who reads the page and not the manual.
pub(super) const MEANING: &str = "\
<details open><summary>What the figures mean</summary>
<dl>
<dt>latency</dt><dd>From the moment a packet was <em>due</em> to its arrival. Packets leave by the clock, whatever the server
does meanwhile (open loop), so a server that stalls for half a second is charged with every packet that had to wait, and not
only with one.</dd>
<dt>p50, p99, p99.9</dt><dd>So many percents of the packets took at most so long. <em>max</em> is the slowest packet.</dd>
<dt>lost</dt><dd>Packets that left and did not arrive while they were waited for. What the generator could not send is not
among them; it is counted as <em>unsent</em>.</dd>
<dt>jitter</dt><dd>Interarrival jitter as RTP has it (RFC 3550): mean over the streams.</dd>
<dt>up, down</dt><dd>Client to peer, and peer to client. Where the peer is a second allocation, a packet crosses the server
twice each way.</dd>
<dt>offered</dt><dd>Packets that were due each second, both directions together.</dd>
<dt>cores, ns/packet</dt><dd>CPU in use, and CPU time for each packet: of the generator for each that it sent or
received, of the server for
each that it relayed.</dd>
<dt>late, unsent, dropped</dt><dd>What the generator did wrong: packets that left more than 2 ms after they were due, that
found no room in its own queues, that the kernel dropped at its own sockets. More than 0.1 % of any, and the report is
<em>generator-limited</em>: it says nothing of the server.</dd>
<dt>served</dt><dd>Clients that got an allocation, of those that asked; both ends count where both are clients.</dd>
</dl></details>
";
