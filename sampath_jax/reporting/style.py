"""The look of a report: one column of calm text, tables that line up, the same on paper."""

CSS = """
:root { --ink: #1f2933; --muted: #5f6b7a; --rule: #dfe4ea; --soft: #f5f7f9; --accent: #1b6a8c; }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0 auto; padding: 2.5rem 1.25rem 4rem; max-width: 68rem; color: var(--ink); background: #fff;
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
}
header { border-bottom: 1px solid var(--rule); padding-bottom: 1.75rem; }
.kind { margin: 0; color: var(--accent); font-size: .8rem; font-weight: 600; letter-spacing: .09em;
  text-transform: uppercase; }
h1 { margin: .2rem 0 .4rem; font-size: 2.1rem; line-height: 1.2; font-weight: 650; overflow-wrap: anywhere; }
h2 { margin: 2.75rem 0 .75rem; font-size: 1.3rem; font-weight: 650; }
h3 { margin: 1.75rem 0 .5rem; font-size: 1rem; font-weight: 650; }
p { margin: .5rem 0; max-width: 46rem; }
.lead { color: var(--muted); font-size: 1.05rem; }
.note, figcaption { color: var(--muted); font-size: .875rem; }
.missing { border-left: 3px solid var(--accent); background: var(--soft); padding: .7rem 1rem; }
.keys { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .75rem;
  margin-top: 1.5rem; }
.key { background: var(--soft); border-radius: 8px; padding: .8rem 1rem; }
.key b { display: block; font-size: 1.75rem; line-height: 1.25; font-weight: 650;
  font-variant-numeric: tabular-nums; }
.key span { display: block; color: var(--muted); font-size: .8rem; }
.pair { display: grid; gap: 0 3.5rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); }
.pair table { width: 100%; }
.scroll { overflow-x: auto; margin: .75rem 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; min-width: min(100%, 24rem); }
th, td { padding: .42rem .9rem .42rem 0; text-align: left; vertical-align: baseline;
  border-bottom: 1px solid var(--rule); }
th:last-child, td:last-child { padding-right: .25rem; }
thead th { color: var(--muted); font-size: .8rem; font-weight: 600; border-bottom-color: #b9c2cc; }
tbody th { font-weight: 500; }
.n { text-align: right; white-space: nowrap; }
.foot > * { border-top: 1px solid #b9c2cc; }
.ci { display: block; color: var(--muted); font-size: .75rem; line-height: 1.3; white-space: nowrap; }
.swatch { display: inline-block; width: .8em; height: .8em; margin-right: .5em; border-radius: 3px;
  border: 1px solid rgb(0 0 0 / .45); vertical-align: -.06em; }
.legend { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; margin: .5rem 0 1rem; font-size: .9rem; }
.matrix td { text-align: center; padding: 2px; border: 0; min-width: 4.4rem; }
.shade { padding: .5rem .4rem; border-radius: 3px; line-height: 1.3; }
.matrix table { min-width: 0; }
.matrix thead th { text-align: center; }
.matrix tbody th { white-space: nowrap; border-bottom-color: transparent; }
.matrix small { display: block; opacity: .8; font-size: .7rem; }
.curves { display: grid; gap: 1.25rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 19.5rem), 1fr)); }
.curves svg { display: block; width: 100%; height: auto; }
.tiles { display: grid; grid-template-columns: 1fr 1fr; gap: 1.5rem 2rem; }
figure { margin: 0; break-inside: avoid; }
.triple { display: grid; grid-template-columns: repeat(3, 1fr); gap: 4px; }
.triple img { display: block; width: 100%; height: auto; border-radius: 3px; }
.triple span { color: var(--muted); font-size: .75rem; }
figcaption { margin: .2rem 0 .35rem; overflow-wrap: anywhere; }
figcaption b { color: var(--ink); text-transform: capitalize; }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 21rem), 1fr)); gap: 0 2.5rem;
  margin: .5rem 0; }
dl div { display: flex; justify-content: space-between; gap: 1rem; padding: .42rem 0;
  border-bottom: 1px solid var(--rule); }
dt { color: var(--muted); flex: none; max-width: 50%; }
dd { margin: 0; text-align: right; overflow-wrap: anywhere; min-width: 0; }
code, pre { font: .85em/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
code { overflow-wrap: anywhere; }
tbody th code { white-space: nowrap; }
pre { background: var(--soft); border-radius: 6px; padding: .75rem 1rem; white-space: pre-wrap;
  overflow-wrap: anywhere; margin: .5rem 0; }
summary { cursor: pointer; color: var(--accent); margin-top: 1rem; }
.published { background: #fbf7ee; }
@media screen and (max-width: 44rem) {
  body { padding-top: 1.5rem; font-size: 15px; }
  h1 { font-size: 1.65rem; }
  .keys { grid-template-columns: 1fr 1fr; }
  .key b { font-size: 1.4rem; }
  .tiles { grid-template-columns: 1fr; }
  th, td { padding-right: .5rem; font-size: .875rem; }
  .pair th:last-child, .pair td:last-child { padding-right: 0; }
  .ci { font-size: .7rem; }
  .matrix table { table-layout: fixed; width: 100%; min-width: calc(6rem + var(--columns) * 3.2rem); }
  .matrix th { width: 6rem; padding-right: .3rem; font-size: .75rem; overflow-wrap: anywhere; hyphens: auto; }
  .matrix thead th + th { width: auto; }
  .matrix tbody th { white-space: normal; font-size: .8rem; }
  .matrix td { min-width: 0; padding: 1px; }
  .shade { padding: .4rem .1rem; }
  .shade small { font-size: .62rem; }
}
@media print {
  @page { margin: 16mm 14mm; }
  body { padding: 0; max-width: none; font-size: 10pt; -webkit-print-color-adjust: exact;
    print-color-adjust: exact; }
  h1 { font-size: 20pt; }
  h2 { margin-top: 1.6rem; font-size: 13pt; }
  h2, h3, .note, .legend { break-after: avoid; }
  tr, .pair, .matrix, .key, .curves > *, dl div { break-inside: avoid; }
  .scroll { overflow: visible; }
  .keys { grid-template-columns: repeat(5, 1fr); gap: .4rem; }
  .key { padding: .5rem .6rem; }
  .key b { font-size: 15pt; }
  .key span { font-size: 7.5pt; white-space: nowrap; }
  main > .scroll { break-inside: avoid; }
  .pair { grid-template-columns: 1fr 1fr; gap: 0 1.5rem; }
  dl { grid-template-columns: 1fr 1fr; gap: 0 1.5rem; }
  th, td { padding: .25rem .6rem .25rem 0; font-size: 9pt; }
  .curves { grid-template-columns: repeat(3, 1fr); gap: .6rem; }
  .tiles { gap: .8rem 1rem; }
  details th, details td { padding-block: .1rem; font-size: 7.5pt; }
  details::details-content { content-visibility: visible; display: block; height: auto; }
  summary { color: var(--ink); list-style: none; font-weight: 600; }
}
"""
