// The scores of the page unpacked, and what follows from them: probabilities, winners, places.

const data = JSON.parse(document.getElementById("map-facts").textContent);
const [high, wide] = data.size;
const cells = data.rows * data.columns;

// 16-bit steps, the low byte first, (class, row, column), in base64 without + and /.
function unpacked(text) {
  const bytes = atob(text.trim().replace(/-/g, "+").replace(/_/g, "/"));
  const values = new Uint16Array(bytes.length >> 1);
  for (let i = 0; i < values.length; i++) {
    values[i] = bytes.charCodeAt(2 * i) | (bytes.charCodeAt(2 * i + 1) << 8);
  }
  return values;
}

const steps = unpacked(document.getElementById("map-scores").textContent);

// exp(score - best score of the cell), by the number of steps between the two.
const below = new Float64Array(65536);
for (let d = 0; d < below.length; d++) below[d] = Math.exp(-data.step * d);

const best = new Uint16Array(cells), winner = new Int32Array(cells), sum = new Float64Array(cells);
for (let k = 0, at = 0; k < data.classes.length; k++) {
  for (let cell = 0; cell < cells; cell++, at++) {
    if (k === 0 || steps[at] > best[cell]) {
      best[cell] = steps[at];
      winner[cell] = k;
    }
  }
}
for (let k = 0, at = 0; k < data.classes.length; k++) {
  for (let cell = 0; cell < cells; cell++, at++) sum[cell] += below[best[cell] - steps[at]];
}

function scoreAt(k, cell) {
  return data.low + data.step * steps[k * cells + cell];
}

function probabilityAt(k, cell) {
  return below[best[cell] - steps[k * cells + cell]] / sum[cell];
}

function hottest(k) {
  let found = 0, most = -1;
  for (let cell = 0; cell < cells; cell++) {
    const p = probabilityAt(k, cell);
    if (p > most) { most = p; found = cell; }
  }
  return found;
}

function clamp(value, low, most) {
  return Math.min(Math.max(value, low), most);
}

// The centre of a cell in pixels of the photograph: pixel p has its centre at the coordinate p.
function centre(cell) {
  const row = Math.floor(cell / data.columns), column = cell % data.columns;
  return {
    row: row, column: column,
    y: data.offset[0] + data.stride[0] * row, x: data.offset[1] + data.stride[1] * column
  };
}

function nearest(pixel, axis) {
  const last = (axis ? data.columns : data.rows) - 1;
  return clamp(Math.floor((pixel - data.offset[axis]) / data.stride[axis] + 0.5), 0, last);
}

function cellAt(x, y) {
  return nearest(y, 0) * data.columns + nearest(x, 1);
}

// Where the pixels of a drawing that is `length` long lie on one axis of the map.
function places(length, axis) {
  const side = data.size[axis], last = (axis ? data.columns : data.rows) - 1;
  const low = new Int32Array(length), part = new Float32Array(length), near = new Int32Array(length);
  for (let i = 0; i < length; i++) {
    const pixel = (i + 0.5) * side / length - 0.5;
    const at = clamp((pixel - data.offset[axis]) / data.stride[axis], 0, last);
    low[i] = Math.min(Math.floor(at), Math.max(last - 1, 0));
    part[i] = at - low[i];
    near[i] = nearest(pixel, axis);
  }
  return { low: low, part: part, near: near, next: last ? 1 : 0 };
}

// The probability of a class over the drawing: bilinear between cells, continued by the edge.
function laid(k, rows, columns) {
  const map = new Float32Array(cells);
  for (let cell = 0; cell < cells; cell++) map[cell] = probabilityAt(k, cell);
  const h = rows.low.length, w = columns.low.length, out = new Float32Array(h * w);
  const line = new Float32Array(data.columns);
  for (let y = 0, at = 0; y < h; y++) {
    const upper = rows.low[y] * data.columns, lower = upper + rows.next * data.columns;
    for (let j = 0; j < line.length; j++) {
      line[j] = map[upper + j] + (map[lower + j] - map[upper + j]) * rows.part[y];
    }
    for (let x = 0; x < w; x++, at++) {
      const left = line[columns.low[x]], right = line[columns.low[x] + columns.next];
      out[at] = left + (right - left) * columns.part[x];
    }
  }
  return out;
}

// For each class that wins somewhere, the cell that lies deepest inside its region.
function innermost() {
  const depth = new Int32Array(cells), w = data.columns;
  function same(cell, row, column) {
    if (row < 0 || column < 0 || row >= data.rows || column >= w) return 0;
    return winner[row * w + column] === winner[cell] ? depth[row * w + column] : 0;
  }
  function step(cell, sign) {
    const row = Math.floor(cell / w), column = cell % w;
    let least = sign < 0 ? cells : depth[cell];
    for (const near of [same(cell, row + sign, column), same(cell, row, column + sign)]) {
      least = Math.min(least, near + 1);
    }
    depth[cell] = least;
  }
  for (let cell = 0; cell < cells; cell++) step(cell, -1);
  for (let cell = cells - 1; cell >= 0; cell--) step(cell, 1);
  const found = new Map();
  for (let cell = 0; cell < cells; cell++) {
    const known = found.get(winner[cell]);
    if (known === undefined || depth[cell] > depth[known]) found.set(winner[cell], cell);
  }
  return found;
}
