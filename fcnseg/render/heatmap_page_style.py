"""What the page of a heatmap adds to the style sheets that it shares."""

STYLE = """
.viewer { display: grid; gap: 20px 28px; grid-template-columns: minmax(0, 1fr); margin-top: 18px; }
.look figure { margin: 0; } .look figcaption { min-height: 1.4em; }
#stage {
  position: relative; overflow: hidden; background: #777; cursor: crosshair;
  touch-action: pan-y pinch-zoom; max-width: 100%; margin: 0; user-select: none;
  -webkit-user-select: none; -webkit-tap-highlight-color: transparent;
}
#stage:focus-visible { outline-offset: 3px; }
#stage img, #stage canvas, #stage svg, .veil, #tags {
  position: absolute; left: 0; top: 0; width: 100%; height: 100%; margin: 0; max-width: none;
}
#stage svg { pointer-events: none; overflow: hidden; } #tags { pointer-events: none; }
.veil { background: #fff; opacity: 0; }
#stage.grey img { filter: grayscale(1); } #stage.grey .veil { opacity: 0.353; }
#boxes rect { fill: none; vector-effect: non-scaling-stroke; stroke: #fff; stroke-width: 2; }
#boxes .under { stroke: #101418; stroke-width: 5; stroke-opacity: 0.8; }
#boxes .field { stroke-dasharray: 7 6; stroke-width: 1.75; }
#boxes .field.under { stroke-dasharray: none; stroke-width: 4; stroke-opacity: 0.55; }
#stage.pinned #boxes .cell:not(.under) { stroke: #ffe14d; stroke-width: 3; }
#spot {
  position: absolute; width: 20px; height: 20px; margin: -10px 0 0 -10px; border-radius: 50%;
  border: 2px solid #fff; box-shadow: 0 0 0 2px #101418, inset 0 0 0 1px #101418;
  pointer-events: none;
}
#stage.pinned #spot { border-color: #ffe14d; }
.tag, #tags i { position: absolute; left: 0; top: 0; }
.tag {
  display: flex; gap: 6px; white-space: nowrap; font-size: 12.5px; line-height: 18px;
  padding: 1px 7px; border-radius: 10px; background: rgba(16, 20, 24, 0.82); color: #fff;
  max-width: 80%; overflow: hidden;
}
.tag .nr { font-weight: 700; } .tag .value { font-variant-numeric: tabular-nums; }
.tag .name { overflow: hidden; text-overflow: ellipsis; } .tag .value:empty { display: none; }
.tag.brief .name, .tag.brief .value { display: none; }
#tags i {
  width: 8px; height: 8px; margin: -4px 0 0 -4px; border-radius: 50%; background: #fff;
  border: 2px solid #101418;
}
#scales { display: grid; gap: 10px 24px; margin-top: 10px;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 210px), 1fr)); }
#scales p { margin: 0 0 4px; font-size: 0.88rem; overflow-wrap: anywhere; }
.bar-scale { height: 14px; border-radius: 3px; overflow: hidden; border: 1px solid var(--quiet); }
.bar-scale div { height: 100%; }
#scales .ends { max-width: none; font-size: 0.8rem; font-variant-numeric: tabular-nums; }
#of-scale, .note { color: var(--quiet); font-size: 0.88rem; margin: 6px 0 0; }
#reading { min-width: 0; }
.side h2, .under h2 { margin: 0 0 4px; font-size: 1.15rem; }
.spot-line { display: flex; flex-wrap: wrap; gap: 6px 14px; align-items: center; }
#where { font-size: 1.06rem; font-weight: 600; font-variant-numeric: tabular-nums; margin: 0; }
#about { color: var(--quiet); font-size: 0.9rem; margin: 4px 0 10px; min-height: 3.2em; }
.plain {
  font: inherit; font-size: 0.88rem; color: var(--ink); background: var(--card); cursor: pointer;
  border: 1px solid var(--quiet); border-radius: 8px; padding: 5px 12px; min-height: 34px;
}
.plain[aria-pressed="true"] { background: var(--map-soft); border-color: var(--map); }
.find { display: grid; gap: 3px; font-size: 0.85rem; color: var(--quiet); margin: 0 0 8px; }
.find input {
  font: inherit; font-size: 1rem; color: var(--ink); background: var(--card); min-height: 40px;
  border: 1px solid var(--quiet); border-radius: 8px; padding: 5px 10px; width: 100%;
}
.ranked-head, .ranked {
  display: grid; grid-template-columns: 2.6em 1.9em minmax(0, 1fr) 54px 3.9em 4.3em; gap: 0 6px;
  align-items: center; padding: 0 8px; font-variant-numeric: tabular-nums;
}
.ranked-head { color: var(--quiet); font-size: 0.8rem; padding-right: 22px; padding-bottom: 3px; }
.ranked-head .n { text-align: right; }
#ranking {
  position: relative; overflow: hidden auto;
  background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  overscroll-behavior: contain;
}
#ranking > div { position: relative; }
.ranked {
  position: absolute; left: 0; right: 0; top: 0; width: 100%; height: 34px; border: 0;
  border-bottom: 1px solid var(--line); background: none; color: var(--ink); font: inherit;
  font-size: 0.9rem; font-variant-numeric: tabular-nums; text-align: left; cursor: pointer;
}
.ranked:hover { background: var(--out); } .ranked:focus-visible { outline-offset: -3px; }
.ranked .rank, .ranked .raw { color: var(--quiet); }
.ranked .rank, .ranked .p, .ranked .raw { text-align: right; }
.ranked .mark, .nr { font-weight: 700; text-align: center; font-variant-numeric: tabular-nums; }
.ranked .mark { border-left: 4px solid transparent; padding-left: 3px; text-align: left; }
.ranked .name { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.ranked[aria-pressed="true"] .name { font-weight: 600; }
.ranked .track { height: 8px; border-radius: 2px; background: var(--out); overflow: hidden; }
.ranked .track i { display: block; height: 100%; background: var(--map); }
#layers { background: var(--card); margin-top: 6px; }
#layers td { vertical-align: middle; padding: 4px 8px; } #layers th { padding: 6px 8px; }
#layers label { display: flex; align-items: center; gap: 8px; min-height: 32px; cursor: pointer; }
#layers .nr { min-width: 1.4em; } #layers .swatch { margin: 0; flex: none; width: 1.1em;
  height: 1.1em; }
.hatch1 { background-image:
  repeating-linear-gradient(135deg, rgba(255, 255, 255, 0.75) 0 2px, transparent 2px 6px); }
.hatch2 { background-image:
  repeating-linear-gradient(45deg, rgba(255, 255, 255, 0.75) 0 2px, transparent 2px 6px); }
.hatch3 { background-image:
  repeating-linear-gradient(0deg, rgba(255, 255, 255, 0.75) 0 2px, transparent 2px 6px),
  repeating-linear-gradient(90deg, rgba(255, 255, 255, 0.75) 0 2px, transparent 2px 6px); }
#layers tr.rest .swatch { margin: 0 8px 0 52px; }
#layers .name { overflow-wrap: anywhere; }
#layers input[type=checkbox], .switch input {
  width: 18px; height: 18px; margin: 0; flex: none; accent-color: var(--map);
}
#layers input[type=range] { width: 100%; min-width: 84px; max-width: 130px; height: 30px; margin: 0;
  accent-color: var(--map); display: block; }
#layers tr.off input[type=range] { opacity: 0.5; }
#layers tr.rest td { color: var(--quiet); }
.switch { display: inline-flex; gap: 8px; align-items: center; min-height: 34px; cursor: pointer; }
html:not(.live) .needs-script, html:not(.live) tr[data-id="-1"] {
  display: none !important;
}
.keys { display: grid; grid-template-columns: auto minmax(0, 1fr); gap: 5px 14px; margin: 0;
  padding: 2px 14px 14px; font-size: 0.9rem; }
.keys dt { white-space: nowrap; } .keys dd { margin: 0; color: var(--quiet); }
kbd {
  font: inherit; font-size: 0.82rem; border: 1px solid var(--quiet); border-radius: 5px;
  padding: 0 6px; background: var(--card);
}
.said { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%);
  white-space: nowrap; }
@media (min-width: 980px) {
  .viewer { grid-template-columns: minmax(0, 1fr) 430px; grid-template-rows: auto 1fr; }
  .look, .under { grid-column: 1; }
  .side { grid-row: 1 / span 2; grid-column: 2; }
  #reading { position: sticky; top: 16px; }
}
@media (max-width: 600px) {
  #ranking { max-height: 310px; } #about { min-height: 6em; }
  .tag { font-size: 11.5px; line-height: 16px; padding: 1px 6px; }
  .tag .value { display: none; }
  .ranked-head, .ranked { grid-template-columns: 2.1em 2.1em minmax(0, 1fr) 0 3.6em 4em;
    gap: 0 4px; padding-left: 4px; }
  #layers thead { display: none; }
  #layers tr { display: grid; grid-template-columns: minmax(0, 1fr) 110px; gap: 0 10px;
    border-bottom: 1px solid var(--line); padding: 6px 8px; align-items: center; }
  #layers td { border: 0; padding: 0; }
  #layers td[data-of] { font-size: 0.85rem; text-align: left; padding-left: 26px; }
  #layers td[data-of]::before { content: attr(data-of) " "; color: var(--quiet); }
  #layers tr.rest { grid-template-columns: minmax(0, 1fr) 100px; }
  #layers tr.rest .swatch { margin-left: 26px; }
  #layers tr.rest td:empty { display: none; }
  #layers td.area { padding-left: 0; text-align: right; }
  #layers td[data-of]:empty::before { content: ""; }
}
@media print {
  .needs-script { display: none !important; } 
  #stage, .swatch { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""
