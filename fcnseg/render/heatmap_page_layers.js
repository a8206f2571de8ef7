// The layers over the photograph: one a class, and the class that wins in each cell.

const LONGEST = 960;
const HALF = 0.5;
const LINE = 2;
const INK = 0.8;
const stage = document.getElementById("stage");
const sheets = document.getElementById("sheets");
const tags = document.getElementById("tags");
const list = document.getElementById("layers").tBodies[0];
const scales = document.getElementById("scales");
const grey = document.getElementById("grey");
const shown = Math.min(LONGEST / Math.max(high, wide), Math.max(1, 480 / Math.max(high, wide)));
const drawHigh = Math.max(1, Math.round(high * shown));
const drawWide = Math.max(1, Math.round(wide * shown));
const rows = places(drawHigh, 0), columns = places(drawWide, 1);
const layers = new Map();
let inner = null;
// Red, green, blue and opacity of each step from 0 to 1.
const heat = new Uint8Array(data.heat.length >> 1);
for (let i = 0; i < heat.length; i++) heat[i] = parseInt(data.heat.substr(2 * i, 2), 16);
const hottestStep = (heat.length >> 2) - 1;

function sheet() {
  const canvas = document.createElement("canvas");
  canvas.width = drawWide;
  canvas.height = drawHigh;
  return canvas;
}

// Whether a line in one of four styles is drawn at a pixel: whole, dashed, dotted, sparse.
function inked(style, x, y) {
  if (style === 0) return true;
  const along = x + 1.618 * y;
  return style === 1 ? along % 20 < 12 : style === 2 ? along % 9 < 4 : along % 30 < 6;
}

// Whether a region's filling is left out at a pixel, so that it differs without its colour.
function hatched(style, x, y) {
  if (style === 0) return false;
  if (style === 1) return (x + y) % 12 < 4;
  return style === 2 ? (x + 4096 - y) % 12 < 4 : x % 12 < 4 || y % 12 < 4;
}

// A light line on the inner side of a border and a dark one on its outer side.
function border(pixels, x, y, inside, style) {
  const at = y * drawWide + x, own = inside(at);
  const other = (x >= LINE && inside(at - LINE) !== own)
    || (x + LINE < drawWide && inside(at + LINE) !== own)
    || (y >= LINE && inside(at - LINE * drawWide) !== own)
    || (y + LINE < drawHigh && inside(at + LINE * drawWide) !== own);
  if (!other || !inked(style, x, y)) return;
  const tone = own ? 255 : 20;
  pixels[4 * at] = pixels[4 * at + 1] = pixels[4 * at + 2] = tone;
  pixels[4 * at + 3] = 255;
}

function paintClass(layer, inHeat) {
  const values = laid(layer.id, rows, columns), pen = layer.canvas.getContext("2d");
  const picture = pen.createImageData(drawWide, drawHigh), out = picture.data;
  for (let i = 0, o = 0; i < values.length; i++, o += 4) {
    const from = inHeat ? heat : layer.colour;
    const at = inHeat ? 4 * Math.round(values[i] * hottestStep) : 0;
    out[o] = from[at];
    out[o + 1] = from[at + 1];
    out[o + 2] = from[at + 2];
    out[o + 3] = inHeat ? from[at + 3] : Math.round(values[i] * INK * 255);
  }
  const inside = function (at) { return values[at] >= HALF; };
  for (let y = 0; y < drawHigh; y++) {
    for (let x = 0; x < drawWide; x++) border(out, x, y, inside, inHeat ? 0 : layer.style);
  }
  pen.putImageData(picture, 0, 0);
  layer.painted = inHeat ? "heat" : "hue";
}

function paintWinner() {
  const canvas = layers.get(-1).canvas, pen = canvas.getContext("2d");
  const picture = pen.createImageData(drawWide, drawHigh), out = picture.data;
  for (let y = 0, at = 0; y < drawHigh; y++) {
    const line = rows.near[y] * data.columns;
    const above = y ? rows.near[y - 1] * data.columns : line;
    for (let x = 0; x < drawWide; x++, at++) {
      const won = winner[line + columns.near[x]], layer = layers.get(won), o = 4 * at;
      const left = winner[line + columns.near[x ? x - 1 : 0]];
      const up = winner[above + columns.near[x]];
      const edge = left !== won || up !== won;
      const colour = edge ? [255, 255, 255] : layer ? layer.colour : [128, 128, 128];
      out[o] = colour[0];
      out[o + 1] = colour[1];
      out[o + 2] = colour[2];
      out[o + 3] = !edge && layer && hatched(layer.style, x, y) ? 90 : 255;
    }
  }
  pen.putImageData(picture, 0, 0);
  layers.get(-1).painted = layers.size;
}

// What a label says without colour: the number of the layer, its name, and a value. It stands
// above the place that it is about, or below where there is no room.
function tag(layer, cell, value, dotted) {
  const at = centre(cell), box = document.createElement("span");
  const x = clamp(at.x + 0.5, 0, wide) / wide * stage.clientWidth;
  const y = clamp(at.y + 0.5, 0, high) / high * stage.clientHeight;
  box.className = "tag";
  for (const [kind, text] of [["nr", layer.number], ["name", layer.name], ["value", value]]) {
    const part = document.createElement("span");
    part.className = kind;
    part.textContent = text;
    box.appendChild(part);
  }
  tags.appendChild(box);
  if (dotted) {
    const dot = document.createElement("i");
    dot.style.left = x + "px";
    dot.style.top = y + "px";
    tags.insertBefore(dot, tags.firstChild);
  }
  function put() {
    const w = box.offsetWidth, h = box.offsetHeight, lift = dotted ? h + 8 : h / 2;
    const top = y - lift < 2 && dotted ? y + 8 : y - lift;
    box.style.left = clamp(x - w / 2, 2, Math.max(2, stage.clientWidth - w - 2)) + "px";
    box.style.top = clamp(top, 2, Math.max(2, stage.clientHeight - h - 2)) + "px";
    return box.getBoundingClientRect();
  }
  return { box: box, put: put };
}

// Labels that would lie over one another are cut down to their numbers, the later one first.
function placeTags() {
  tags.textContent = "";
  const on = active(), made = [], kept = [];
  for (const layer of on) {
    const cell = layer.hottest;
    made.push(tag(layer, cell, fraction(probabilityAt(layer.id, cell)), true));
  }
  if (layers.get(-1).box.checked) {
    inner = inner || innermost();
    for (const layer of layers.values()) {
      if (inner.has(layer.id) && on.indexOf(layer) < 0) {
        made.push(tag(layer, inner.get(layer.id), "", false));
      }
    }
  }
  for (const one of made) {
    let own = one.put();
    for (const cut of [one, null]) {
      const crossed = kept.filter(function (other) {
        return own.left < other.at.right && other.at.left < own.right
          && own.top < other.at.bottom && other.at.top < own.bottom;
      });
      if (!crossed.length) break;
      for (const tagged of cut ? [cut] : crossed.map(function (other) { return other.one; })) {
        tagged.box.classList.add("brief");
      }
      own = one.put();
      for (const other of crossed) other.at = other.one.put();
    }
    kept.push({ one: one, at: own });
  }
}

function active() {
  return Array.from(layers.values()).filter(function (layer) {
    return layer.id >= 0 && layer.box.checked;
  });
}

// A bar with ends 0 and 1, drawn as its layer is: over the middle grey of the photograph.
function scale(layer, inHeat) {
  const item = document.createElement("div"), bar = document.createElement("div");
  const ink = document.createElement("div"), name = document.createElement("p");
  item.className = "scale-item";
  name.textContent = layer.number + "  " + layer.name;
  bar.className = "bar-scale";
  bar.style.background = "rgb(" + [data.grey, data.grey, data.grey] + ")";
  const stops = [0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1].map(function (v) {
    const at = 4 * Math.round(hottestStep * v);
    const ink = inHeat ? heat.slice(at, at + 3) : layer.colour;
    return "rgba(" + ink.join(",") + "," + (inHeat ? heat[at + 3] / 255 : INK * v) + ")";
  });
  ink.style.background = "linear-gradient(to right," + stops.join(",") + ")";
  ink.style.opacity = layer.slider.value / 100;
  bar.appendChild(ink);
  item.appendChild(name);
  item.appendChild(bar);
  const ends = document.createElement("div");
  ends.className = "ends";
  for (const tick of ["0", "0.25", "0.5", "0.75", "1"]) {
    const label = document.createElement("span");
    label.textContent = tick;
    ends.appendChild(label);
  }
  item.appendChild(ends);
  return item;
}

function show() {
  const on = active(), won = layers.get(-1), inHeat = on.length === 1 && !won.box.checked;
  for (const layer of layers.values()) {
    const visible = layer.box.checked;
    layer.canvas.hidden = !visible;
    layer.canvas.style.opacity = layer.slider.value / 100;
    layer.row.classList.toggle("off", !visible);
    if (!visible) continue;
    if (layer.id < 0) { if (layer.painted !== layers.size) paintWinner(); }
    else if (layer.painted !== (inHeat ? "heat" : "hue")) paintClass(layer, inHeat);
  }
  stage.classList.toggle("grey", grey.checked && (on.length > 0 || won.box.checked));
  drawScales();
  placeTags();
  if (ranked) ranked.draw();
}

function drawScales() {
  const on = active(), inHeat = on.length === 1 && !layers.get(-1).box.checked;
  scales.textContent = "";
  for (const layer of on) scales.appendChild(scale(layer, inHeat));
  document.getElementById("of-scale").hidden = !on.length;
}

function adopt(row) {
  const layer = {
    id: Number(row.getAttribute("data-id")), row: row, canvas: sheet(), painted: "",
    number: row.querySelector(".nr").textContent, name: row.querySelector(".name").textContent,
    colour: row.getAttribute("data-colour").split(",").map(Number),
    style: Number(row.getAttribute("data-style")),
    box: row.querySelector("input[type=checkbox]"), slider: row.querySelector("input[type=range]")
  };
  layer.hottest = layer.id < 0 ? 0 : hottest(layer.id);
  layer.canvas.setAttribute("data-id", layer.id);
  layers.set(layer.id, layer);
  sheets.appendChild(layer.canvas);
  layer.box.addEventListener("change", show);
  layer.slider.addEventListener("input", function () {
    layer.canvas.style.opacity = layer.slider.value / 100;
    if (layer.box.checked) return drawScales();
    layer.box.checked = true;
    show();
  });
  return layer;
}

// A class of the ranking that has no layer yet gets the next number and the next colour.
function added(id) {
  const count = layers.size - 1, row = list.querySelector("tr[data-id='" + data.listed[0] + "']");
  const own = row.cloneNode(true), kind = count % data.hues.length;
  const colour = data.palette ? data.palette[id] : data.hues[kind];
  own.setAttribute("data-id", id);
  own.setAttribute("data-colour", colour);
  own.setAttribute("data-style", Math.floor(count / data.hues.length) % 4);
  own.querySelector(".nr").textContent = count + 1;
  own.querySelector(".name").textContent = data.classes[id];
  own.querySelector(".swatch").style.backgroundColor = "rgb(" + colour + ")";
  own.querySelector(".swatch").className = "swatch hatch" + own.getAttribute("data-style");
  own.querySelector("input[type=checkbox]").checked = false;
  own.querySelector("input[type=range]").setAttribute("aria-label", "opacity of " + data.classes[id]);
  own.querySelector(".whole").textContent = data.whole ? fraction(data.whole[id]) : "";
  own.querySelector(".area").textContent = share(data.areas[id] || 0);
  list.insertBefore(own, document.getElementById("others"));
  const layer = adopt(own);
  countOthers();
  return layer;
}

// The last row of the table: the classes that win somewhere and have no layer.
function countOthers() {
  const row = document.getElementById("others");
  const ids = Object.keys(data.areas).filter(function (id) { return !layers.has(Number(id)); });
  const sum = ids.reduce(function (all, id) { return all + data.areas[id]; }, 0);
  row.hidden = !ids.length;
  row.querySelector(".count").textContent = ids.length + " other class"
    + (ids.length === 1 ? "" : "es");
  row.querySelector(".area").textContent = share(sum);
}

function toggle(id) {
  const layer = layers.get(id) || added(id);
  layer.box.checked = !layer.box.checked;
  show();
}

function fraction(p) {
  return p >= 0.001 || p === 0 ? p.toFixed(3) : "<0.001";
}

function share(part) {
  const value = 100 * part;
  const text = value === 0 ? "0" : value < 0.01 ? "<0.01" : value.toFixed(value >= 10 ? 1 : 2);
  return text + "\u202f%";
}
