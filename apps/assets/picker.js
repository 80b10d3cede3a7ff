// The valence-arousal plane and the timeline under it. `props.value` is what apps/picker.py:state gives;
// a drag changes the selected keyframe and triggers 'input', upon which Python answers with a new value.
const NS = "http://www.w3.org/2000/svg";
const SIZE = 400, EDGE = 24, WIDE = 400, HIGH = 92;
const x = (v) => SIZE / 2 + v * (SIZE / 2 - EDGE), y = (a) => SIZE / 2 - a * (SIZE / 2 - EDGE);
const clip = (value) => Math.max(-1, Math.min(1, value));
const short = (value) => String(Math.round(value * 100) / 100);
const BESIDE = { tired: [8, 4, "start"], happy: [0, 18, "middle"], fear: [-8, 4, "end"], disgust: [-8, 4, "end"],
  anger: [8, 4, "start"], contempt: [8, 4, "start"] };
let drag = null;

function put(parent, name, facts, words) {
  const node = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(facts)) node.setAttribute(key, value);
  if (words !== undefined) node.textContent = words;
  parent.appendChild(node);
  return node;
}

function canvas(kind, width, height, label) {
  const holder = element.querySelector(kind);
  if (!holder) return null;
  holder.replaceChildren();
  return put(holder, "svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
}

function drawPlane(state) {
  const svg = canvas(".plane", SIZE, SIZE, "valence from left to right, arousal from bottom to top");
  if (!svg) return;
  const half = SIZE / 2;
  for (const [left, top, colour, name] of [[half, 0, "#fffaec", "glad, excited"], [0, 0, "#fdf2f0", "angry, afraid"],
    [0, half, "#eff5fa", "sad, weary"], [half, half, "#f0f8f2", "calm, tender"]]) {
    put(svg, "rect", { x: left, y: top, width: half, height: half, fill: colour });
    const right = left > 0;
    put(svg, "text", { x: right ? SIZE - 6 : 6, y: top ? SIZE - 6 : 14, class: "axis",
      "text-anchor": right ? "end" : "start" }, name);
  }
  put(svg, "path", { d: `M0 ${half}H${SIZE}M${half} 0V${SIZE}`, stroke: "#b7c0c8", fill: "none" });
  put(svg, "text", { x: SIZE - 6, y: half - 6, class: "axis", "text-anchor": "end" }, "pleasant");
  put(svg, "text", { x: 6, y: half - 6, class: "axis" }, "unpleasant");
  put(svg, "text", { x: half + 6, y: 14, class: "axis" }, "excited");
  put(svg, "text", { x: half + 6, y: SIZE - 6, class: "axis" }, "calm");
  for (const word of WORDS) {
    put(svg, "circle", { cx: x(word.v), cy: y(word.a), r: 4, fill: word.colour });
    const [dx, dy, anchor] = BESIDE[word.word] ?? [0, -8, "middle"];
    put(svg, "text", { x: x(word.v) + dx, y: y(word.a) + dy, "text-anchor": anchor, class: "word", "data-word": word.word,
      fill: word.colour, style: `fill:${word.colour};paint-order:stroke;stroke:#fff;stroke-width:3px` }, word.word);
  }
  const way = state.path.map(([, v, a], place) => `${place ? "L" : "M"}${x(v)} ${y(a)}`).join("");
  if (state.keys.length > 1) put(svg, "path", { d: way, fill: "none", stroke: "#22303c", "stroke-width": 2, opacity: 0.6 });
  else put(svg, "path", { d: `M${x(0)} ${y(0)}L${x(state.keys[0].v)} ${y(state.keys[0].a)}`, stroke: "#22303c" });
  state.keys.forEach((key, place) => {
    const own = place === state.selected;
    put(svg, "circle", { cx: x(key.v), cy: y(key.a), r: own ? 10 : 6, fill: "#fff", "fill-opacity": 0.6, stroke: "#22303c",
      "stroke-width": own ? 3 : 1.5, class: "key", "data-key": place });
  });
}

function drawTime(state) {
  const svg = canvas(".time", WIDE, HIGH, "keyframes over time");
  if (!svg) return;
  const at = (t) => 14 + (t / state.span) * (WIDE - 28), up = (value) => 32 - value * 26;
  put(svg, "rect", { x: 0, y: 0, width: WIDE, height: 64, fill: "#f6f7f8", rx: 6 });
  put(svg, "path", { d: `M0 32H${WIDE}`, stroke: "#d5dbe0" });
  for (const [column, colour] of [[1, "#c77d0a"], [2, "#3f7cac"]])
    put(svg, "path", { d: state.path.map((p, i) => `${i ? "L" : "M"}${at(p[0])} ${up(p[column])}`).join(""),
      fill: "none", stroke: colour, "stroke-width": 2 });
  state.keys.forEach((key, place) => {
    const own = place === state.selected;
    put(svg, "path", { d: `M${at(key.at)} 2V64`, stroke: "#22303c", "stroke-dasharray": "2 3", opacity: 0.5 });
    put(svg, "circle", { cx: at(key.at), cy: 64, r: own ? 8 : 6, fill: own ? "#22303c" : "#fff", stroke: "#22303c",
      "stroke-width": 2, class: "key", "data-time": place });
  });
  put(svg, "text", { x: 4, y: HIGH - 4, class: "axis" }, "0");
  put(svg, "text", { x: WIDE - 4, y: HIGH - 4, class: "axis", "text-anchor": "end" }, `${short(state.span)} ${state.unit}`);
  put(svg, "text", { x: WIDE / 2, y: HIGH - 4, class: "axis", "text-anchor": "middle" },
    "valence gold, arousal blue; double-click: a keyframe");
}

function draw() {
  const state = props.value;
  if (state && state.keys) { drawPlane(state); drawTime(state); }
}

function place(event, svg, width) {
  const box = svg.getBoundingClientRect();
  return [((event.clientX - box.left) / box.width) * width, ((event.clientY - box.top) / box.width) * width];
}

function send(state) {
  props.value = state;
  draw();
  trigger("input");
}

function moved(state, event) {
  const next = structuredClone(state), key = next.keys[next.selected];
  if (drag === "plane") {
    const [px, py] = place(event, element.querySelector(".plane svg"), SIZE);
    key.v = clip((px - SIZE / 2) / (SIZE / 2 - EDGE));
    key.a = clip((SIZE / 2 - py) / (SIZE / 2 - EDGE));
    key.emotion = `v=${short(key.v)} a=${short(key.a)}`;  // where the pointer is: at intensity 1
    key.i = 1;
    if (next.keys.length === 1) next.path = next.path.map(([t]) => [t, key.v, key.a]);
  } else {
    const [px] = place(event, element.querySelector(".time svg"), WIDE);
    const before = next.selected ? next.keys[next.selected - 1].at + 0.01 : 0;
    const after = next.selected + 1 < next.keys.length ? next.keys[next.selected + 1].at - 0.01 : next.span;
    key.at = Math.max(before, Math.min(after, Math.round(((px - 14) / (WIDE - 28)) * next.span * 20) / 20));
  }
  return next;
}

element.addEventListener("pointerdown", (event) => {
  const state = structuredClone(props.value), node = event.target, word = node.dataset && node.dataset.word;
  if (word) {
    const key = state.keys[state.selected];
    key.emotion = key.i === 1 ? word : `${word} @ ${short(key.i)}`;
    return send(state);
  }
  const plane = node.closest(".plane"), time = node.closest(".time");
  if (!plane && !time) return;
  const chosen = node.dataset && (node.dataset.key ?? node.dataset.time);
  if (chosen !== undefined) state.selected = Number(chosen);
  else if (time) return;
  event.preventDefault();
  drag = plane ? "plane" : "time";
  props.value = chosen !== undefined ? state : moved(state, event);
  draw();
});
window.addEventListener("pointermove", (event) => {
  if (!drag) return;
  props.value = moved(props.value, event);
  draw();
});
window.addEventListener("pointerup", () => {
  if (!drag) return;
  drag = null;
  trigger("input");
});
element.addEventListener("dblclick", (event) => {
  if (!event.target.closest(".time")) return;
  const state = structuredClone(props.value);
  const [px] = place(event, element.querySelector(".time svg"), WIDE);
  const at = Math.max(0, Math.round(((px - 14) / (WIDE - 28)) * state.span * 20) / 20);
  if (state.keys.some((key) => Math.abs(key.at - at) < 0.01)) return;
  const before = state.keys.filter((key) => key.at < at).length;
  state.keys.splice(before, 0, { ...state.keys[Math.max(before - 1, 0)], at });
  state.selected = before;
  send(state);
});
watch("value", draw);
draw();
