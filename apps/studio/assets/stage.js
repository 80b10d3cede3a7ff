// A result with its players, its files and the parts of a scene; another one beside it; and those made before.
const root = element.querySelector(".show");
let chosen = null, beside = null;

function node(tag, facts = {}, ...inside) {
  const made = document.createElement(tag);
  for (const [fact, value] of Object.entries(facts)) {
    if (fact.startsWith("on")) made.addEventListener(fact.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(fact, value);
  }
  made.append(...inside.filter((one) => one !== null));
  return made;
}

const all = () => [...(props.value.ready ? [props.value.ready] : []), ...props.value.results];
const found = (id) => all().find((one) => one.id === id);
const emotionOf = (one) => one.title.split(": ").slice(1).join(": ") || one.title;

function player(one) {
  const parts = [];
  if (one.film) parts.push(node("video", { src: one.film, controls: "", playsinline: "", "aria-label": one.title }));
  if (one.roll) parts.push(node("img", { class: "roll", src: `data:image/svg+xml,${encodeURIComponent(one.roll)}`, alt: "Piano roll" }));
  if (one.picture && !one.film) parts.push(node("img", { src: one.picture, alt: one.title }));
  if (one.sound) {
    const sound = node("audio", { src: one.sound, controls: "", "aria-label": one.title });
    parts.push(sound);
    if (one.before) parts.push(switched(sound, one));
  }
  return parts;
}

function switched(sound, one) { // before and after, at the same place in the words
  const both = { false: one.before, true: one.sound };
  return node("button", { type: "button", role: "switch", "aria-checked": "true", class: "switch", onclick: (event) => {
    const knob = event.currentTarget, after = knob.getAttribute("aria-checked") !== "true";
    const share = sound.duration ? sound.currentTime / sound.duration : 0, plays = !sound.paused;
    knob.setAttribute("aria-checked", after);
    sound.src = both[after];
    sound.addEventListener("loadedmetadata", () => { sound.currentTime = share * sound.duration; if (plays) sound.play(); }, { once: true });
  } }, node("span", {}, "Before"), node("i", {}), node("span", {}, "After"));
}

function part(one) {
  const tag = one.film ? "video" : "audio", again = (kind) => () => trigger(kind, { part: one.part, id: chosen });
  return node("li", {}, node("b", {}, one.title), node(tag, { src: one.url, controls: "", preload: "metadata", "aria-label": one.title }),
    node("span", { class: "does" },
      node("button", { type: "button", onclick: again("another"), "aria-label": `Another ${one.title.toLowerCase()}` }, "Another"),
      one.part === "face" ? null
        : node("button", { type: "button", onclick: again("keep"), "aria-label": `Keep this ${one.title.toLowerCase()}` }, "Keep")));
}

function figure(one, main) {
  const files = one.files.map((file) => node("a", { href: file.url, download: file.name }, file.name));
  return node("figure", { class: main ? "main" : "beside" }, ...player(one),
    node("figcaption", {}, node("b", {}, emotionOf(one)), node("span", { class: "summary" }, one.summary),
      node("span", { class: "files" }, ...files)));
}

function draw() {
  const results = all(), one = found(chosen) || results[0];
  root.replaceChildren();
  root.classList.toggle("empty", !one);
  if (!one) { root.append(node("p", { class: "none" }, "Your film will appear here.")); return; }
  chosen = one.id;
  const other = beside && beside !== chosen ? found(beside) : null;
  root.append(node("div", { class: other ? "films two" : "films" }, figure(one, true), other ? figure(other, false) : null));
  if (one.parts.length) root.append(node("details", { class: "parts" }, node("summary", {}, "Parts: keep one, change another"),
    node("ul", {}, ...one.parts.map(part))));
  if (one.details) root.append(node("details", {}, node("summary", {}, "Details"), node("p", { class: "told" }, one.details)));
  if (results.length < 2) return;
  const list = node("ol", { class: "history", "aria-label": "Made before" }, ...results.map((made) => node("li", {},
    node("button", { type: "button", "aria-pressed": made.id === chosen, onclick: () => { chosen = made.id; draw(); } },
      made.film ? node("video", { src: `${made.film}#t=0.6`, preload: "metadata", muted: "", tabindex: -1, "aria-hidden": "true" }) : null,
      made.title))));
  const choose = node("select", { "aria-label": "Compare with", onchange: (event) => { beside = event.target.value; draw(); } },
    node("option", { value: "" }, "Compare with ..."), ...results.filter((made) => made.id !== chosen).map((made) =>
      node("option", { value: made.id, selected: made.id === beside ? "" : null }, made.title)));
  const mine = props.value.results.some((made) => made.id === chosen);
  root.append(node("div", { class: "before" }, choose, mine
    ? node("button", { type: "button", onclick: () => trigger("reuse", { id: chosen }) }, "Use these settings") : null), list);
}

let newest = null;
watch("value", () => {
  const first = props.value.ready || props.value.results[0];
  if (first && first.id !== newest) { newest = chosen = first.id; }
  draw();
});
draw();
