"""The style sheet of the explanation: light and dark, phone and laptop, screen and paper."""

STYLE = """
:root {
  color-scheme: light dark;
  --page: #f7f7f4; --card: #ffffff; --ink: #1b2430; --quiet: #57616e; --line: #d8dce2;
  --map: #0072b2; --map-soft: #cfe4f1; --tail: #c65300; --tail-soft: #fbe2cf;
  --score: #007a5a; --score-soft: #cdeadf; --out: #e4e6ea;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #14181d; --card: #1c2229; --ink: #e8ecf1; --quiet: #a3adb9; --line: #38424d;
    --map: #6cb8ea; --map-soft: #1d4058; --tail: #ff9a4d; --tail-soft: #5a3313;
    --score: #4fcfa5; --score-soft: #174536; --out: #2a323b;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif;
}
main { max-width: 1240px; margin: 0 auto; padding: 28px 20px 64px; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 8px; overflow-wrap: anywhere; }
h2 { font-size: 1.3rem; line-height: 1.3; margin: 48px 0 8px; }
h3 { font-size: 1.02rem; margin: 0 0 6px; }
p { margin: 8px 0; max-width: 74ch; overflow-wrap: break-word; }
.lead { color: var(--quiet); font-size: 1.06rem; }
code, .formula {
  font-family: ui-monospace, "Cascadia Mono", Menlo, Consolas, "Liberation Mono", monospace;
  font-size: 0.9em;
}
code { overflow-wrap: anywhere; }
.facts {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 10px;
  margin: 20px 0 0; padding: 0;
}
.facts div, .card {
  background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 12px 14px;
}
.facts dt { color: var(--quiet); font-size: 0.85rem; line-height: 1.35; }
.facts dd { margin: 2px 0 0; font-size: 1.2rem; font-variant-numeric: tabular-nums; }
.facts small { display: block; color: var(--quiet); font-size: 0.82rem; line-height: 1.35; }
.cards { display: grid; gap: 12px; margin: 14px 0; }
.changes { grid-template-columns: repeat(auto-fit, minmax(min(100%, 300px), 1fr)); }
.change { border-left: 4px solid var(--tail); }
.change p { margin: 4px 0 0; color: var(--quiet); }
.change .was { overflow-wrap: anywhere; }
.scroll { overflow-x: auto; max-width: 100%; }
table {
  border-collapse: collapse; font-size: 0.875rem; line-height: 1.4; min-width: 100%;
  font-variant-numeric: tabular-nums;
}
th, td { padding: 5px 10px; border-bottom: 1px solid var(--line); vertical-align: top; }
thead th { color: var(--quiet); font-weight: 600; vertical-align: bottom; }
.t { text-align: left; } .n { text-align: right; white-space: nowrap; }
td.t:first-child, td code { white-space: nowrap; }
.layers td code { white-space: normal; }
tr.over th { text-align: left; background: var(--out); font-weight: 600; }
.layers { table-layout: fixed; width: 1140px; font-size: 0.82rem; }
.layers th, .layers td { padding: 5px 6px; overflow-wrap: anywhere; }
.layers td.t:first-child { white-space: normal; }
.layers thead th { white-space: normal; overflow-wrap: normal; }
.layers thead th:nth-child(n) { width: 50px; }
.layers thead th:nth-child(1) { width: 146px; } .layers thead th:nth-child(2) { width: 124px; }
.layers thead th:nth-child(3) { width: 134px; } .layers thead th:nth-child(7) { width: 92px; }
.layers thead th:nth-child(8), .layers thead th:nth-child(9) { width: 100px; }
.layers thead th:nth-child(13), .layers thead th:nth-child(14) { width: 76px; }
.same { color: var(--quiet); }
.new { color: var(--tail); font-weight: 600; }
.skip {
  display: inline-block; margin-left: 6px; padding: 0 7px; border-radius: 9px;
  background: var(--score-soft); color: var(--ink); font-size: 0.78rem; white-space: nowrap;
}
.inner td:first-child { padding-left: 24px; color: var(--quiet); }
details { background: var(--card); border: 1px solid var(--line); border-radius: 10px; }
details + details { margin-top: 10px; }
summary { cursor: pointer; padding: 11px 14px; font-weight: 600; }
summary span { font-weight: 400; color: var(--quiet); display: block; font-size: 0.9rem; }
details.tail { border-left: 4px solid var(--tail); }
details .scroll { padding: 0 6px 8px; }
figure { margin: 16px 0; }
figure > .scroll {
  background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 10px;
}
figcaption { color: var(--quiet); font-size: 0.9rem; margin-top: 6px; max-width: 80ch; }
svg { display: block; width: 100%; height: auto; margin: 0 auto; font-family: inherit; }
svg text { fill: var(--ink); font-size: 12px; }
svg .quiet { fill: var(--quiet); } svg .strong { font-weight: 600; font-size: 13px; }
svg .map { fill: var(--map-soft); stroke: var(--map); }
svg .tail { fill: var(--tail-soft); stroke: var(--tail); }
svg .score { fill: var(--score-soft); stroke: var(--score); }
svg .hollow { fill: none; stroke: var(--quiet); stroke-dasharray: 3 2; }
svg .way { fill: none; stroke: var(--quiet); stroke-width: 1.3; }
svg .jump { fill: none; stroke: var(--score); stroke-width: 1.8; }
svg .turn { fill: none; stroke: var(--tail); stroke-width: 1.5; stroke-dasharray: 5 3; }
svg .outside { fill: var(--out); } svg .edge { stroke: var(--ink); stroke-width: 1.5; }
svg .seen { stroke: var(--map); stroke-width: 2; }
svg .dot { fill: var(--map); } svg .sum { fill: var(--card); stroke: var(--score); }
.steps td.formula { white-space: nowrap; }
.steps { background: var(--card); }
.panels { display: grid; grid-template-columns: repeat(auto-fit, minmax(260px, 1fr)); gap: 14px; }
.panels figure { margin: 0; }
.panels img { display: block; width: 100%; height: auto; border-radius: 8px; }
.scale { height: 12px; border-radius: 6px; margin-top: 10px; max-width: 420px; }
.ends { display: flex; justify-content: space-between; max-width: 420px; color: var(--quiet);
  font-size: 0.85rem; }
footer { margin-top: 48px; color: var(--quiet); font-size: 0.88rem; }
@media (max-width: 600px) {
  main { padding: 18px 14px 40px; } h1 { font-size: 1.5rem; } h2 { margin-top: 36px; }
  .facts { grid-template-columns: repeat(2, minmax(0, 1fr)); }
  .steps thead { display: none; } .steps tr { display: block; padding: 6px 0;
    border-bottom: 1px solid var(--line); }
  .steps td { display: block; border: 0; padding: 1px 0; }
  .steps td:first-child { color: var(--quiet); }
}
@media print {
  body { background: #fff; } main { max-width: none; padding: 0; }
  .scroll { overflow: visible; } table { font-size: 8.5pt; }
  svg { min-width: 0 !important; }
  .layers { width: 100%; table-layout: auto; font-size: 6pt; }
  .layers thead th:nth-child(n) { width: auto; }
  .layers th, .layers td { padding: 2px 3px; overflow-wrap: normal; }
  .card, figure, tr { break-inside: avoid; } h2, summary { break-after: avoid; }
}
"""
