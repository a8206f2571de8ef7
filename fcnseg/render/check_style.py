"""What the page of a data check adds to the style sheets that it shares, and its script."""

STYLE = """
.filter { display: flex; flex-wrap: wrap; gap: 10px 16px; align-items: end; margin: 12px 0; }
.filter label { display: grid; gap: 3px; font-size: 0.85rem; color: var(--quiet); }
.filter input, .filter select {
  font: inherit; font-size: 1rem; color: var(--ink); background: var(--card); min-height: 42px;
  border: 1px solid var(--quiet); border-radius: 8px; padding: 6px 10px; width: 22rem;
  max-width: 100%;
}
.filter select { width: auto; }
.filter output { padding-bottom: 9px; color: var(--quiet); }
.kind summary { overflow-wrap: anywhere; }
.kind summary span.level { display: inline-block; font-size: 0.8rem; }
.kind summary span.where { display: inline; }
.kind table { table-layout: fixed; width: 100%; }
.kind th:first-child { width: 38%; }
.kind td { overflow-wrap: anywhere; }
.kind td.t:first-child { white-space: normal; }
.kind td code, .gallery code { white-space: pre-wrap; }
.classes td { vertical-align: middle; }
.classes td:first-child { white-space: normal; overflow-wrap: anywhere; min-width: 11rem; }
.classes .track { width: 40%; min-width: 300px; padding-left: 24px; padding-right: 34px; }
.axis { position: relative; height: 22px; display: block; }
.axis i {
  position: absolute; top: 0; height: 22px; width: 1px; background: var(--line);
}
.axis i.row { height: 3px; width: auto; top: 9px; background: var(--out); }
.axis b {
  position: absolute; transform: translateX(-50%); font-weight: 400; white-space: nowrap;
}
.mark {
  position: absolute; width: 14px; height: 14px; top: 4px; margin-left: -7px; border-radius: 50%;
  background: var(--map); border: 2px solid var(--map);
}
.mark.two {
  border-radius: 0; transform: rotate(45deg) scale(0.8); background: none;
  border: 3px solid var(--tail);
}
.key { position: relative; display: inline-block; width: 16px; height: 14px; margin: 0 6px -1px 0; }
.key .mark { top: 0; left: 8px; }
.splits td:nth-child(2) { min-width: 15rem; }
table.bounds { min-width: 0; }
svg .spot { fill: var(--map); fill-opacity: 0.35; stroke: var(--map); }
@media (max-width: 600px) {
  .filter input { width: 100%; } .filter label { width: 100%; }
  .filter label.short { width: auto; }
  .kind thead { display: none; }
  .kind tr, .kind td { display: block; border: 0; padding: 2px 0; }
  .kind tr { border-bottom: 1px solid var(--line); padding: 7px 0; }
  .kind td:first-child { color: var(--quiet); }
  .classes thead tr, .classes tbody tr { display: flex; flex-wrap: wrap; gap: 0 18px; }
  .classes tr { border-bottom: 1px solid var(--line); padding: 8px 0 6px; }
  .classes th, .classes td { border: 0; padding: 2px 0; }
  .classes thead th:not(.track) { display: none; }
  .classes thead th.track { padding-left: 24px; padding-right: 24px; }
  .classes td:first-child, .classes .track { flex: 1 0 100%; width: 100%; min-width: 0; }
  .classes .track { padding: 2px 24px; }
  .classes td[data-of]::before { content: attr(data-of) " "; color: var(--quiet); }
}
@media print {
  .filter { display: none; }
  .mark, .axis i { print-color-adjust: exact; }
}
"""

SCRIPT = """
(function () {
  var box = document.getElementById("filter");
  if (!box) return;
  var text = document.getElementById("find"), level = document.getElementById("level");
  var said = document.getElementById("found"), opened = [];
  var kinds = Array.prototype.map.call(document.querySelectorAll("details.kind"), function (kind) {
    var rows = Array.prototype.slice.call(kind.querySelectorAll("tbody tr"));
    return {
      box: kind, rows: rows, severity: kind.getAttribute("data-severity"),
      words: rows.map(function (row) { return row.textContent.toLowerCase(); })
    };
  });
  function show() {
    var wanted = text.value.trim().toLowerCase(), shown = 0, all = 0;
    kinds.forEach(function (kind) {
      var here = 0, right = !level.value || kind.severity === level.value;
      kind.rows.forEach(function (row, i) {
        var fits = right && kind.words[i].indexOf(wanted) >= 0;
        row.hidden = !fits;
        here += fits;
      });
      kind.box.hidden = !here;
      shown += here;
      all += kind.rows.length;
    });
    opened.forEach(function (kind) { kind.box.open = false; });
    opened = [];
    if (wanted && shown <= 100) kinds.forEach(function (kind) {
      if (!kind.box.hidden && !kind.box.open) { kind.box.open = true; opened.push(kind); }
    });
    said.textContent = shown === all ? all + " listed" : shown + " of " + all + " fit";
  }
  var timer;
  text.addEventListener("input", function () {
    clearTimeout(timer);
    timer = setTimeout(show, 120);
  });
  level.addEventListener("change", show);
  box.hidden = false;
  show();
})();
"""
