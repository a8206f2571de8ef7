// The reading: every class at one cell, ranked; pointer, touch, keyboard and pin.

const where = document.getElementById("where"), about = document.getElementById("about");
const said = document.getElementById("said"), pin = document.getElementById("pin");
const find = document.getElementById("find"), box = document.getElementById("ranking");
const ROW = 34;
const span = data.step * 65535;
const digits = span > 0 ? clamp(3 - Math.floor(Math.log10(span)), 0, 6) : 2;
let current = -1, pinned = false, sayLater = 0;
let ranked = null;

function signed(value) {
  const text = value.toFixed(digits);
  return Number(text) < 0 ? text.replace("-", "\u2212") : text.replace("-", "");
}

function trimmed(value) {
  return String(Math.round(value * 10) / 10).replace("-", "\u2212");
}

// A list of which only the rows in view exist, since there may be thousands of classes.
function Ranking() {
  const inner = box.firstElementChild, pool = [];
  let order = [], kept = [];
  function make() {
    const row = document.createElement("button");
    row.type = "button";
    row.className = "ranked";
    for (const kind of ["rank", "mark", "name", "track", "p", "raw"]) {
      const part = document.createElement("span");
      part.className = kind;
      row.appendChild(part);
    }
    row.querySelector(".track").appendChild(document.createElement("i"));
    row.addEventListener("click", function () { toggle(Number(row.getAttribute("data-id"))); });
    inner.appendChild(row);
    pool.push(row);
    return row;
  }
  function fill(row, at) {
    const id = kept[at], rank = order.indexOf(id), layer = layers.get(id);
    const p = probabilityAt(id, current), parts = row.children;
    row.setAttribute("data-id", id);
    row.setAttribute("aria-pressed", Boolean(layer && layer.box.checked));
    row.style.transform = "translateY(" + at * ROW + "px)";
    parts[0].textContent = rank + 1;
    parts[1].textContent = layer ? layer.number : "";
    parts[1].style.borderColor = layer ? "rgb(" + layer.colour + ")" : "transparent";
    parts[2].textContent = data.classes[id];
    parts[3].firstChild.style.width = 100 * p + "%";
    parts[4].textContent = fraction(p);
    parts[5].textContent = signed(scoreAt(id, current));
    row.title = data.classes[id] + ": show or hide its layer";
  }
  this.draw = function () {
    if (current < 0) return;
    const first = Math.max(0, Math.floor(box.scrollTop / ROW) - 2);
    const last = Math.min(kept.length, Math.ceil((box.scrollTop + box.clientHeight) / ROW) + 2);
    inner.style.height = kept.length * ROW + "px";
    for (let i = first; i < last; i++) {
      const row = pool[i - first] || make();
      row.hidden = false;
      fill(row, i);
    }
    for (let i = Math.max(0, last - first); i < pool.length; i++) pool[i].hidden = true;
  };
  this.sort = function () {
    order = data.classes.map(function (name, id) { return id; });
    order.sort(function (a, b) {
      return steps[b * cells + current] - steps[a * cells + current] || a - b;
    });
    this.filter();
  };
  this.filter = function () {
    const wanted = find.value.trim().toLowerCase();
    kept = wanted
      ? order.filter(function (id) { return data.classes[id].toLowerCase().indexOf(wanted) >= 0; })
      : order;
    document.getElementById("none").hidden = kept.length > 0;
    this.draw();
  };
  this.top = function () { return order[0]; };
}

function place(kind, x, y, w, h) {
  for (const rect of document.querySelectorAll("#boxes ." + kind)) {
    rect.setAttribute("x", x);
    rect.setAttribute("y", y);
    rect.setAttribute("width", w);
    rect.setAttribute("height", h);
  }
}

// The pixels from the first to the last that a cell sees on one axis, cut at the photograph.
function seen(middle, field, side) {
  const first = Math.max(0, Math.ceil(middle - (field - 1) / 2));
  const last = Math.min(side - 1, Math.floor(middle + (field - 1) / 2));
  return first + " to " + last;
}

function boxes(at) {
  const h = data.cell[0], w = data.cell[1], spot = document.getElementById("spot");
  place("cell", at.x + 0.5 - w / 2, at.y + 0.5 - h / 2, w, h);
  spot.style.left = 100 * clamp(at.x + 0.5, 0, wide) / wide + "%";
  spot.style.top = 100 * clamp(at.y + 0.5, 0, high) / high + "%";
  spot.hidden = Math.min(w * stage.clientWidth / wide, h * stage.clientHeight / high) >= 10;
  if (data.field || data.seesAll) {
    const top = part(at.y, 0), left = part(at.x, 1);
    place("field", left[0], top[0], left[1] - left[0], top[1] - top[0]);
  }
}

// The stretch of the photograph that a cell sees on one axis, from edge to edge.
function part(middle, axis) {
  const side = data.size[axis];
  if (!data.field) return [0, side];
  const half = data.field[axis] / 2;
  return [Math.max(0, middle + 0.5 - half), Math.min(side, middle + 0.5 + half)];
}

function read(cell, x, y, aloud) {
  const at = centre(cell), moved = cell !== current;
  current = cell;
  where.textContent = "pixel x " + x + ", y " + y;
  const name = data.pixelwise
    ? "scores of pixel x " + trimmed(at.x) + ", y " + trimmed(at.y)
    : "cell in row " + (at.row + 1) + " of " + data.rows + ", column " + (at.column + 1) + " of "
      + data.columns + ", centred at x " + trimmed(at.x) + ", y " + trimmed(at.y);
  let sees = "";
  if (data.field) {
    sees = ". It sees x " + seen(at.x, data.field[1], wide) + ", y "
      + seen(at.y, data.field[0], high)
      + (data.seesAll ? ", and the whole photograph by squeeze-excite or a norm" : "");
  } else if (data.seesAll) sees = ". It sees the whole photograph";
  // A number stays on the line of its letter.
  about.textContent = (name + sees).replace(/ ([xy]) /g, " $1\u00a0");
  boxes(at);
  if (!moved) return;
  ranked.sort();
  clearTimeout(sayLater);
  if (aloud) sayLater = setTimeout(say, 250);
}

function say() {
  const id = ranked.top();
  said.textContent = where.textContent + ": " + data.classes[id] + ", probability "
    + fraction(probabilityAt(id, current)) + (pinned ? ", pinned" : "");
}

function setPin(state) {
  pinned = state;
  pin.setAttribute("aria-pressed", state);
  pin.textContent = state ? "pinned: release" : "pin";
  stage.classList.toggle("pinned", state);
}

function pixelOf(event) {
  const area = stage.getBoundingClientRect();
  const left = area.left + stage.clientLeft, top = area.top + stage.clientTop;
  return {
    x: clamp(Math.floor((event.clientX - left) / stage.clientWidth * wide), 0, wide - 1),
    y: clamp(Math.floor((event.clientY - top) / stage.clientHeight * high), 0, high - 1)
  };
}

function readCell(cell, aloud) {
  const at = centre(cell);
  const x = clamp(Math.round(at.x), 0, wide - 1), y = clamp(Math.round(at.y), 0, high - 1);
  read(cell, x, y, aloud);
}

let waiting = null;
stage.addEventListener("pointermove", function (event) {
  if (pinned) return;
  if (!waiting) requestAnimationFrame(function () {
    const at = waiting;
    waiting = null;
    if (!pinned) read(cellAt(at.x, at.y), at.x, at.y, false);
  });
  waiting = pixelOf(event);
});

stage.addEventListener("click", function (event) {
  const at = pixelOf(event), cell = cellAt(at.x, at.y);
  const release = pinned && cell === current;
  read(cell, at.x, at.y, true);
  setPin(!release);
  say();
});

pin.addEventListener("click", function () { setPin(!pinned); say(); });

const MOVES = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };

stage.addEventListener("keydown", function (event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const at = centre(current), move = MOVES[event.key];
  let row = at.row, column = at.column;
  if (move) {
    const far = event.shiftKey ? 10 : 1;
    row = clamp(row + move[0] * far, 0, data.rows - 1);
    column = clamp(column + move[1] * far, 0, data.columns - 1);
  } else if (event.key === "Home") column = 0;
  else if (event.key === "End") column = data.columns - 1;
  else if (event.key === "Enter" || event.key === " ") { setPin(!pinned); say(); }
  else if (event.key === "Escape") setPin(false);
  else if (event.key === "w") toggle(-1);
  else if (event.key === "0") {
    for (const layer of layers.values()) layer.box.checked = false;
    show();
  } else if (/^[1-9]$/.test(event.key) && data.listed[event.key - 1] !== undefined) {
    toggle(data.listed[event.key - 1]);
  } else return;
  event.preventDefault();
  if (row !== at.row || column !== at.column) readCell(row * data.columns + column, true);
});

for (const row of list.querySelectorAll("tr[data-id]")) adopt(row);
sheets.insertBefore(layers.get(-1).canvas, sheets.firstChild);
ranked = new Ranking();
box.addEventListener("scroll", ranked.draw);
find.addEventListener("input", function () { box.scrollTop = 0; ranked.filter(); });
grey.addEventListener("change", show);
addEventListener("resize", function () {
  placeTags();
  ranked.draw();
  boxes(centre(current));
});
document.documentElement.classList.add("live");
readCell(layers.get(data.listed[0]).hottest, false);
show();
document.documentElement.setAttribute("data-ready", "true");
