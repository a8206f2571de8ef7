"""What the page of a training adds to the style sheets that it shares, and its script."""

STYLE = """
:root { --right: 0 114 178; --wrong: 198 83 0; --most: 0.8; --third: #8a4f9e; }
@media (prefers-color-scheme: dark) {
  :root { --right: 30 112 170; --wrong: 178 78 10; --most: 0.95; --third: #d59ae8; }
}
.plots.wide { grid-template-columns: repeat(auto-fill, minmax(min(100%, 330px), 1fr)); }
.plots.wide .legend { margin: 8px 0 0; font-size: 0.85rem; gap: 0 16px; }
.legend > span { white-space: nowrap; }
svg .line { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
svg .line.one { stroke: var(--map); }
svg .line.raw { stroke: var(--map); stroke-width: 1; opacity: 0.4; }
svg .line.two { stroke: var(--tail); stroke-dasharray: 7 4; }
svg .line.three { stroke: var(--score); stroke-dasharray: 2 4; }
svg .line.four { stroke: var(--third); stroke-dasharray: 9 4 2 4; }
svg .point { stroke: var(--card); stroke-width: 1; }
svg .point.one, svg .end { fill: var(--map); } svg .point.two { fill: var(--tail); }
svg .point.three { fill: var(--score); } svg .point.four { fill: var(--third); }
svg .band { fill: var(--map-soft); } svg .floor { stroke: var(--quiet); }
svg .best { stroke: var(--ink); stroke-width: 1.2; stroke-dasharray: 3 3; }
.stroke {
  display: inline-block; width: 26px; height: 0; margin-right: 6px; vertical-align: 0.28em;
  border-top: 3px solid var(--map);
}
.stroke.raw { border-top-width: 1px; opacity: 0.4; }
.stroke.two { border-top: 3px dashed var(--tail); }
.stroke.three { border-top: 3px dotted var(--score); }
.stroke.four { border-top: 3px dashed var(--third); }
.stroke.best { border-top: 2px dashed var(--ink); }
.area {
  display: inline-block; width: 18px; height: 12px; margin-right: 6px; border-radius: 3px;
  background: var(--map-soft);
}
.ious td, .largest td { vertical-align: middle; }
.ious td.name { white-space: normal; overflow-wrap: anywhere; min-width: 8rem; max-width: 14rem; }
.ious .value { font-weight: 600; }
.ious .bar { min-width: 150px; }
.ious th.bar { font-weight: 400; }
.much { color: var(--quiet); white-space: nowrap; }
.ious td.wrong { min-width: 9rem; max-width: 15rem; overflow-wrap: anywhere; }
.largest td.t { white-space: normal; overflow-wrap: anywhere; min-width: 7rem; }
.largest th.n { white-space: normal; }
.largest .bar { display: block; min-width: 240px; }
.track {
  position: relative; display: block; height: 14px; border-radius: 3px; background: var(--out);
}
.track.none { background: none; height: auto; color: var(--quiet); }
.fill { position: absolute; inset: 0 auto 0 0; border-radius: 3px; background: var(--map); }
.fill.two { background: var(--tail); }
.tick {
  position: absolute; top: -4px; bottom: -4px; width: 3px; margin-left: -1px;
  background: var(--ink); box-shadow: 0 0 0 1px var(--card);
}
p .tick { position: static; display: inline-block; height: 1em; vertical-align: -0.15em; }
svg.spark { width: 96px; height: 26px; margin: 0; }
.matrix tbody { background: var(--card); }
.matrix { min-width: 0; border-collapse: separate; border-spacing: 1px; }
.matrix th, .matrix td { border: 0; padding: 4px; }
.matrix tbody td { text-align: center; min-width: 36px; height: 30px; font-size: 0.8rem; }
.matrix tbody td.none { text-align: left; color: var(--quiet); background: none; }
.matrix tbody td.right { background: rgb(var(--right) / calc(var(--A) * var(--most))); }
.matrix tbody td.wrong { background: rgb(var(--wrong) / calc(var(--A) * var(--most))); }
.matrix tbody th {
  position: sticky; left: 0; background: var(--page); text-align: right; font-weight: 400;
  max-width: 12rem; overflow-wrap: anywhere; z-index: 1;
}
.matrix thead th { vertical-align: bottom; }
.matrix thead th span {
  writing-mode: vertical-rl; transform: rotate(180deg); max-height: 10rem; overflow: hidden;
  white-space: nowrap; text-overflow: ellipsis;
}
.matrix .corner {
  position: sticky; left: 0; background: var(--page); color: var(--quiet); font-size: 0.8rem;
  vertical-align: bottom; z-index: 1;
}
b.right { color: var(--map); } b.wrong { color: var(--tail); }
.scroll.matrix { max-height: 92vh; overflow: auto; }
.scroll.matrix svg { max-width: none; margin: 0; }
.scroll.matrix svg text { font-size: 11px; }
.scroll.matrix image { image-rendering: pixelated; }
.reading { min-height: 1.6em; font-variant-numeric: tabular-nums; }
h3 { margin-top: 26px; }
.gallery.wide { grid-template-columns: repeat(auto-fill, minmax(min(100%, 440px), 1fr)); }
.gallery.wide img { height: auto; }
.gallery b { font-size: 1.02rem; }
table.pairs { min-width: 0; width: 100%; }
table.pairs td { overflow-wrap: anywhere; white-space: normal; }
table.pairs td.t:first-child { width: 40%; color: var(--quiet); white-space: normal; }
.halves { display: grid; gap: 10px; margin-top: 12px;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 420px), 1fr)); }
.halves details + details { margin-top: 0; } .halves details { align-self: start; }
@media (max-width: 600px) {
  .ious thead { display: none; }
  .ious tr { display: flex; flex-wrap: wrap; gap: 2px 16px; padding: 9px 0;
    border-bottom: 1px solid var(--line); }
  .ious td { border: 0; padding: 0; }
  .ious td.name { flex: 1 0 60%; max-width: none; font-weight: 600; }
  .ious td.value { margin-left: auto; }
  .ious td.bar { flex: 1 0 60%; min-width: 0; align-self: center; }
  .much { color: var(--quiet); white-space: nowrap; }
.ious td.wrong { flex: 1 0 100%; max-width: none; }
  .ious td.wrong:empty { display: none; }
  .ious td[data-of]::before { content: attr(data-of) " "; color: var(--quiet); }
  .largest th:nth-child(3), .largest td:nth-child(3) { display: none; }
  .largest th, .largest td { padding: 5px 4px; } .largest td.t { min-width: 5.2rem; }
  .largest .swatch { display: none; }
  .matrix tbody th, .matrix .corner { min-width: 5.6rem; max-width: 6.5rem; }
}
@media print {
  .fill, .track, .matrix td, .stroke, .area { print-color-adjust: exact; }
  .scroll.matrix { max-height: none; } .scroll.matrix svg { width: 100% !important; }
}
"""

SCRIPT = """
(function () {
  var drawing = document.getElementById("matrix"), said = document.getElementById("reading");
  if (!drawing || !said) return;
  var names = drawing.getAttribute("data-names").split("\\n"), shares = {};
  var left = +drawing.getAttribute("data-left"), cell = +drawing.getAttribute("data-cell");
  var side = +drawing.getAttribute("data-side");
  drawing.getAttribute("data-shares").split(" ").forEach(function (entry) {
    var part = entry.split(",");
    shares[part[0] + "," + part[1]] = +part[2] / 100;
  });
  drawing.addEventListener("pointermove", read);
  drawing.addEventListener("pointerdown", read);
  function read(event) {
    var box = drawing.getBoundingClientRect(), scale = side / box.width;
    var column = Math.floor(((event.clientX - box.left) * scale - left) / cell);
    var row = Math.floor(((event.clientY - box.top) * scale - left) / cell);
    if (row < 0 || column < 0 || row >= names.length || column >= names.length) return;
    var share = shares[row + "," + column];
    var much = share === undefined ? "less than 0.05" : share.toFixed(share < 1 ? 2 : 1);
    said.textContent = much + " % of " + names[row] + " is predicted as " + names[column];
  }
  said.hidden = false;
})();
"""
