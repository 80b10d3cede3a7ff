// The panel of the emotion. `state` is the one value: a text, its keyframes and which of them is selected. A control
// changes it by edit(), show() draws all controls from it, and read() asks Python what a text means.
const NS = "http://www.w3.org/2000/svg", SIZE = 400, EDGE = 24, HIGH = 92;
const BESIDE = { tired: [8, 4, "start"], happy: [0, 18, "middle"], fear: [-8, 4, "end"], disgust: [-8, 4, "end"],
  anger: [8, 4, "start"], contempt: [8, 4, "start"] };
const x = (v) => SIZE / 2 + v * (SIZE / 2 - EDGE), y = (a) => SIZE / 2 - a * (SIZE / 2 - EDGE);
const clip = (value, low = -1, high = 1) => Math.max(low, Math.min(high, value));
const short = (value) => String(Math.round(value * 100) / 100);
const copy = (value) => JSON.parse(JSON.stringify(value));
const spans = { seconds: 6, bars: 8 };
let state = copy(props.value), dirty = false, asked = 0, pending = Promise.resolve(), drag = null;

// ------------------------------------------------------------ the page

const root = element.querySelector(".emotion");
const colour = (word) => WORDS.find((one) => one.word === word).colour;
root.innerHTML = `
  <div class="chips" role="group" aria-label="Emotion">${CHIPS.map((word) =>
    `<button type="button" data-chip="${word}"><i style="background:${colour(word)}"></i>${word}</button>`).join("")}</div>
  <div class="dial">
    <label for="dial">Intensity</label>
    <input id="dial" type="range" min="0" max="2" step="0.05" aria-describedby="scale">
    <input id="amount" type="number" min="0" max="2" step="0.05" aria-label="Intensity as a number">
    <div id="scale"><span>neutral</span><span>natural</span><span>exaggerated</span></div>
  </div>
  <label class="field">In words <input id="words" type="text" maxlength="${LONGEST}" autocomplete="off" spellcheck="false"
    aria-describedby="wrong" placeholder="happy, tender 0.7 + hope 0.3 @ 1.2, or over time: 0: sad, 4: happy"></label>
  <p id="wrong" role="alert"></p>
  <details class="fine"><summary>Fine-tune: over time, a point, a mix, a file</summary>
    <div class="pair"><div class="plane"></div><div>
      <label class="field">Pick an emotion <input id="pick" list="vocabulary" placeholder="${VOCABULARY.length} to choose from">
        <datalist id="vocabulary">${VOCABULARY.map((word) => `<option>${word}</option>`).join("")}</datalist></label>
      <fieldset class="mix"><legend>Mix</legend>${CANONICAL.map((name) =>
        `<label>${name}<input type="range" min="0" max="1" step="0.05" data-mix="${name}"></label>`).join("")}</fieldset>
    </div></div>
    <div class="time"></div>
    <p class="hint">Gold: pleasant/unpleasant. Blue: calm/excited. Double-click to add a keyframe.</p>
    <table class="keys"><caption>Keyframes</caption><thead><tr><th scope="col">Time</th><th scope="col">Emotion</th>
      <th scope="col">Transition to the next keyframe</th><th scope="col"><span class="quiet">Remove</span></th></tr></thead>
      <tbody></tbody></table>
    <button type="button" id="add">Add keyframe</button>
    <div class="field file"><label>Take the emotion from a file <input type="file" id="source"
      accept="audio/*,video/*,.mid,.midi,.txt,.npz,.opus"></label>
      <label><input type="checkbox" id="follow"> Follow it over time</label></div>
    <div class="reading" role="group" aria-label="What will be read"></div>
  </details>`;
const at = (id) => root.querySelector(`#${id}`);
const chips = root.querySelector(".chips"), rows = root.querySelector(".keys tbody");

// ------------------------------------------------------------ the state

const key = () => state.keys[state.selected];
const kind = () => document.body.dataset.kind || "";
const strong = (one) => (one.i === 1 ? one.emotion : `${one.emotion} @ ${short(one.i)}`);

function compose() {
  const [first] = state.keys, plain = state.keys.length === 1 && first.at === 0 && first.ease === "linear";
  const line = (one) => `${short(one.at)}${one.ease === "linear" ? "" : ` ${one.ease}`}: ${strong(one)}`;
  state.text = plain ? strong(first) : state.keys.map(line).join(", ");
  state.files = {};
  state.wrong = "";
}

function commit() {
  state.kind = kind();
  props.value = copy(state);
}

function read(wait = 60) {
  const number = ++asked;
  pending = new Promise((done) => setTimeout(done, wait)).then(async () => {
    if (number !== asked) return pending;
    const { text, files, unit, span } = state;
    const found = await server.read({ text, files, unit, span, kind: kind() });
    if (number !== asked) return pending;
    dirty = false;
    Object.assign(state, found);
    state.selected = Math.min(state.selected, state.keys.length - 1);
    show();
    commit();
  });
  return pending;
}

async function edit(change, ended = true) {
  if (dirty) await pending; // what was typed counts first
  change(state);
  compose();
  show();
  commit();
  read();
  if (ended) released();
}

function typed(text) {
  state.text = text;
  dirty = true;
  commit();
  return read(80);
}

function released() {
  pending.then(() => trigger("released"));
}

// ------------------------------------------------------------ what is shown

function fill(input, value) {
  if (input !== document.activeElement || input.type === "range") input.value = value;
}

function show(settled = false) {
  const own = key(), word = CHIPS.includes(own.emotion) ? own.emotion : "";
  for (const chip of chips.children) chip.setAttribute("aria-pressed", chip.dataset.chip === word);
  fill(at("dial"), own.i);
  at("dial").setAttribute("aria-valuetext", short(own.i));
  fill(at("amount"), short(own.i));
  fill(at("words"), state.text);
  fill(at("pick"), VOCABULARY.includes(own.emotion) ? own.emotion : "");
  if (settled) [at("amount").value, at("words").value] = [short(own.i), state.text];
  at("wrong").textContent = state.wrong || "";
  at("words").setAttribute("aria-invalid", Boolean(state.wrong));
  for (const [place, name] of CANONICAL.entries()) fill(root.querySelector(`[data-mix=${name}]`), (own.mix || [])[place] || 0);
  at("add").disabled = state.keys.length >= MOST;
  root.querySelector(".reading").innerHTML = state.reading || "";
  const held = root.contains(document.activeElement) ? document.activeElement.dataset : {};
  const focus = held.time !== undefined ? `[data-time="${held.time}"]` : held.plane !== undefined ? "[data-plane]" : null;
  plane();
  time();
  if (!rows.contains(document.activeElement) || rows.children.length !== state.keys.length) table();
  if (focus) root.querySelector(focus)?.focus();
}

function put(parent, name, facts, words) {
  const node = document.createElementNS(NS, name);
  for (const [fact, value] of Object.entries(facts)) node.setAttribute(fact, value);
  if (words !== undefined) node.textContent = words;
  parent.appendChild(node);
  return node;
}

function canvas(place, height, facts) {
  const holder = root.querySelector(place);
  holder.replaceChildren();
  return put(holder, "svg", { viewBox: `0 0 ${SIZE} ${height}`, ...facts });
}

function plane() {
  const own = key(), half = SIZE / 2;
  const svg = canvas(".plane", SIZE, { role: "slider", tabindex: 0, "data-plane": "", "aria-valuemin": -1, "aria-valuemax": 1,
    "aria-label": "Point: left and right unpleasant to pleasant, up and down calm to excited", "aria-valuenow": own.v,
    "aria-valuetext": `pleasant ${short(own.v)}, excited ${short(own.a)}` });
  for (const [left, top, area] of [[half, 0, "glad"], [0, 0, "angry"], [0, half, "low"], [half, half, "mild"]])
    put(svg, "rect", { x: left, y: top, width: half, height: half, class: area });
  put(svg, "path", { d: `M0 ${half}H${SIZE}M${half} 0V${SIZE}`, class: "axes" });
  for (const [px, py, anchor, says] of [[SIZE - 6, half - 6, "end", "pleasant"], [6, half - 6, "start", "unpleasant"],
    [half + 6, 14, "start", "excited"], [half + 6, SIZE - 6, "start", "calm"]])
    put(svg, "text", { x: px, y: py, "text-anchor": anchor, class: "axis" }, says);
  for (const word of WORDS) {
    put(svg, "circle", { cx: x(word.v), cy: y(word.a), r: 4, fill: word.colour });
    const [dx, dy, anchor] = BESIDE[word.word] ?? [0, -8, "middle"];
    put(svg, "text", { x: x(word.v) + dx, y: y(word.a) + dy, "text-anchor": anchor, class: "word", "data-word": word.word }, word.word);
  }
  const way = state.keys.length > 1 ? state.path.map(([, v, a], place) => `${place ? "L" : "M"}${x(v)} ${y(a)}`).join("")
    : `M${x(0)} ${y(0)}L${x(own.v)} ${y(own.a)}`;
  put(svg, "path", { d: way, class: "way" });
  state.keys.forEach((one, place) => put(svg, "circle", { cx: x(one.v), cy: y(one.a), r: place === state.selected ? 10 : 6,
    class: place === state.selected ? "key own" : "key", "data-key": place }));
}

function time() {
  const svg = canvas(".time", HIGH, { role: "group", "aria-label": "Keyframes over time" });
  const across = (t) => 14 + (t / state.span) * (SIZE - 28), up = (value) => 32 - value * 26;
  put(svg, "rect", { x: 0, y: 0, width: SIZE, height: 64, class: "ground", rx: 6 });
  put(svg, "path", { d: `M0 32H${SIZE}`, class: "axes" });
  for (const [column, line] of [[1, "valence"], [2, "arousal"]])
    put(svg, "path", { d: state.path.map((p, i) => `${i ? "L" : "M"}${across(p[0])} ${up(p[column])}`).join(""), class: line });
  state.keys.forEach((one, place) => {
    put(svg, "path", { d: `M${across(one.at)} 2V64`, class: "stem" });
    put(svg, "circle", { cx: across(one.at), cy: 64, r: place === state.selected ? 8 : 6, "data-time": place, tabindex: 0,
      class: place === state.selected ? "key own" : "key", role: "slider", "aria-valuemin": 0, "aria-valuemax": state.span,
      "aria-valuenow": one.at, "aria-valuetext": `${short(one.at)} ${state.unit}`, "aria-label": `Keyframe ${place + 1}: ${strong(one)}` });
  });
  put(svg, "text", { x: 4, y: HIGH - 6, class: "axis" }, "0");
  put(svg, "text", { x: SIZE - 4, y: HIGH - 6, class: "axis", "text-anchor": "end" },
    `${short(state.span)} ${state.unit === "bars" ? "bars" : "s"}`);
}

function table() {
  rows.innerHTML = state.keys.map((one, place) => `<tr${place === state.selected ? ' class="own"' : ""}>
    <td><input type="number" min="0" step="0.1" value="${short(one.at)}" data-at="${place}" aria-label="Time of keyframe ${place + 1}"></td>
    <td><button type="button" data-choose="${place}" aria-pressed="${place === state.selected}"></button></td>
    <td><select data-ease="${place}" aria-label="Transition after keyframe ${place + 1}">${["linear", "smooth", "hold"].map((ease) =>
      `<option${ease === one.ease ? " selected" : ""}>${ease}</option>`).join("")}</select></td>
    <td><button type="button" data-remove="${place}" aria-label="Remove keyframe ${place + 1}"
      ${state.keys.length === 1 ? "disabled" : ""}>×</button></td></tr>`).join("");
  state.keys.forEach((one, place) => { rows.querySelector(`[data-choose="${place}"]`).textContent = strong(one); });
}

// ------------------------------------------------------------ what the controls change

chips.addEventListener("click", (event) => {
  const chip = event.target.closest("[data-chip]");
  if (chip) edit(() => { key().emotion = chip.dataset.chip; });
});
at("dial").addEventListener("input", () => { const i = Number(at("dial").value); edit(() => { key().i = i; }, false); });
at("dial").addEventListener("change", released);
at("amount").addEventListener("input", () => {
  const given = parseFloat(at("amount").value);
  if (Number.isNaN(given)) return;
  const i = clip(given, 0, 2);
  if (i !== given) at("amount").value = short(i);
  edit(() => { key().i = i; }, false).then(() => pending).then(() => {
    if (i !== given) at("wrong").textContent = "Intensity goes from 0 to 2.";
  });
});
at("amount").addEventListener("change", () => { show(true); released(); });
at("words").addEventListener("input", () => typed(at("words").value));
at("words").addEventListener("change", () => typed(at("words").value).then(released));
at("pick").addEventListener("input", () => {
  const word = at("pick").value.trim().toLowerCase();
  if (VOCABULARY.includes(word)) edit(() => { key().emotion = word; });
});
for (const share of root.querySelectorAll("[data-mix]")) {
  share.addEventListener("input", () => {
    const place = CANONICAL.indexOf(share.dataset.mix), value = Number(share.value);
    edit(() => {
      const mix = [...(key().mix || [])];
      mix[place] = value;
      const parts = CANONICAL.map((name, i) => [name, mix[i] || 0]).filter(([, weight]) => weight >= 0.01);
      if (!parts.length) return;
      key().mix = mix;
      key().emotion = parts.length === 1 ? parts[0][0] : parts.map(([name, weight]) => `${name} ${short(weight)}`).join(" + ");
    }, false);
  });
  share.addEventListener("change", released);
}

function add(when) {
  edit(() => {
    if (state.keys.some((one) => Math.abs(one.at - when) < 0.01) || state.keys.length >= MOST) return;
    const before = state.keys.filter((one) => one.at < when).length;
    state.keys.splice(before, 0, { ...copy(state.keys[Math.max(before - 1, 0)]), at: when });
    state.selected = before;
  });
}
at("add").addEventListener("click", () => {
  const next = state.keys[state.selected + 1], end = next ? next.at : Math.max(state.span, key().at + 1);
  add(Math.round(((key().at + end) / 2) * 100) / 100); // halfway
});

function timed(place, when) {
  const before = place ? state.keys[place - 1].at + 0.05 : 0;
  const after = place + 1 < state.keys.length ? state.keys[place + 1].at - 0.05 : Math.max(state.span, when);
  state.keys[place].at = Math.round(clip(when, before, after) * 100) / 100;
}
rows.addEventListener("click", (event) => {
  const { choose, remove } = event.target.dataset;
  if (choose !== undefined) {
    state.selected = Number(choose);
    show();
    table();
    commit();
    rows.querySelector(`[data-choose="${choose}"]`).focus();
  }
  if (remove !== undefined) edit(() => {
    state.keys.splice(Number(remove), 1);
    state.selected = Math.min(state.selected, state.keys.length - 1);
  });
});
rows.addEventListener("change", (event) => {
  const { at: when, ease } = event.target.dataset, value = event.target.value;
  if (when !== undefined && value !== "") edit(() => timed(Number(when), Number(value))).then(table);
  if (ease !== undefined) edit(() => { state.keys[Number(ease)].ease = value; });
});

function pointed(v, a) {
  const own = key(); // where the pointer is: at intensity 1
  Object.assign(own, { v: clip(v), a: clip(a), i: 1 });
  own.emotion = `v=${short(own.v)} a=${short(own.a)}`;
  if (state.keys.length === 1) state.path = state.path.map(([t]) => [t, own.v, own.a]);
}

function place(event, svg) {
  const box = svg.getBoundingClientRect();
  return [((event.clientX - box.left) / box.width) * SIZE, ((event.clientY - box.top) / box.width) * SIZE];
}

function dragged(event) {
  const [px, py] = place(event, root.querySelector(`.${drag} svg`));
  if (drag === "plane") pointed((px - SIZE / 2) / (SIZE / 2 - EDGE), (SIZE / 2 - py) / (SIZE / 2 - EDGE));
  else timed(state.selected, Math.round(((px - 14) / (SIZE - 28)) * state.span * 20) / 20);
  show();
}
root.addEventListener("pointerdown", (event) => {
  const { word, key: on, time: when } = event.target.dataset;
  const inPlane = event.target.closest(".plane"), inTime = event.target.closest(".time");
  if (word) { event.preventDefault(); edit(() => { key().emotion = word; }); return; }
  if (!inPlane && when === undefined) return;
  event.preventDefault();
  drag = inTime ? "time" : "plane";
  if (on !== undefined || when !== undefined) state.selected = Number(on ?? when);
  else dragged(event);
  show();
  table();
});
window.addEventListener("pointermove", (event) => { if (drag) dragged(event); });
window.addEventListener("pointerup", () => {
  if (!drag) return;
  drag = null;
  edit(() => {});
});
root.querySelector(".time").addEventListener("dblclick", (event) => {
  const [px] = place(event, root.querySelector(".time svg"));
  add(Math.max(0, Math.round(((px - 14) / (SIZE - 28)) * state.span * 20) / 20));
});
root.addEventListener("keydown", (event) => {
  const { plane: inPlane, time: when } = event.target.dataset;
  const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
  if (inPlane !== undefined && move) {
    event.preventDefault();
    edit(() => pointed(key().v + 0.05 * move[0], key().a + 0.05 * move[1]));
  }
  if (when === undefined) return;
  if (move) {
    event.preventDefault();
    edit(() => {
      state.selected = Number(when);
      timed(Number(when), key().at + ((move[0] + move[1]) * state.span) / 40);
    });
  }
  if (event.key === "Delete" && state.keys.length > 1) edit(() => { state.keys.splice(Number(when), 1); state.selected = 0; });
  if (event.key === "Enter" || event.key === " ") { event.preventDefault(); state.selected = Number(when); show(); table(); commit(); }
});

async function taken() {
  const [file] = at("source").files;
  if (!file) return;
  try {
    const { path } = await upload(file);
    state.files = { [file.name]: path };
    typed(`${at("follow").checked ? "follow" : "from"}: ${file.name}`).then(() => { show(true); released(); });
  } catch (error) { at("wrong").textContent = `The file could not be uploaded: ${error.message || error}`; }
}
at("source").addEventListener("change", taken);
at("follow").addEventListener("change", taken);

// ------------------------------------------------------------ what others change

window.addEventListener("affekt:span", ({ detail: { unit, span } }) => {
  spans[unit] = span;
  if (state.unit === unit && span > 0) { state.span = span; read(); }
});
window.addEventListener("affekt:kind", () => {
  const unit = kind() === "music" ? "bars" : "seconds", scale = spans[unit] / spans[state.unit];
  if (unit !== state.unit) {
    state.unit = unit;
    state.span = spans[unit];
    if (state.keys.length > 1 && !Object.keys(state.files).length) { // the same shape over the new length
      for (const one of state.keys) one.at = Math.round(one.at * scale * 100) / 100;
      compose();
    }
  }
  show();
  commit();
  read(0);
});
watch("value", () => {
  if (JSON.stringify(props.value) === JSON.stringify(state)) return;
  state = copy(props.value);
  spans[state.unit] = state.span;
  dirty = false;
  asked++;
  show(true);
});
show();
read(0); // by the generator of the tab that is shown
