// A control that takes a file: chosen, dropped, pasted, recorded or photographed. Python checks it when it arrives.
const root = element.querySelector(".intake"), name = `${FIELD}-${Math.random().toString(36).slice(2, 8)}`;
const button = (kind, says) => `<button type="button" data-do="${kind}">${says}</button>`;
root.innerHTML = `
  <span class="label" id="${name}-label"></span>
  <div class="drop"><label class="choose"><input type="file" aria-describedby="${name}-says"><span></span></label>
    ${SOUND ? button("record", "● Record") : ""}${CAMERA ? button("camera", "Camera") : ""}</div>
  <div class="held" hidden><div class="seen"></div><div class="facts"><span class="name"></span>${button("remove", "Remove")}</div></div>
  <p class="says" id="${name}-says" role="status"></p>`;
const find = (place) => root.querySelector(place);
const input = find("input"), says = find(".says");
input.accept = ACCEPT;
find(".label").textContent = LABEL;
find(".choose span").textContent = INFO ? `Choose or drop: ${INFO}` : "Choose or drop a file";
input.setAttribute("aria-labelledby", `${name}-label`);
let count = 0, recorder = null;

function tell(text, wrong = false) {
  says.textContent = text;
  says.classList.toggle("bad", wrong);
}

function show() {
  const value = props.value;
  find(".drop").hidden = Boolean(value);
  find(".held").hidden = !value;
  const seen = find(".seen");
  seen.replaceChildren();
  if (!value) { if (!says.classList.contains("bad")) tell(""); return; }
  find(".name").textContent = value.name;
  find("[data-do=remove]").setAttribute("aria-label", `Remove ${value.name}`);
  const tag = { picture: "img", film: "video", sound: "audio" }[value.sort];
  if (tag) {
    const node = document.createElement(tag);
    node.src = value.url;
    if (tag === "img") node.alt = `${LABEL}: ${value.name}`;
    else { node.controls = true; node.setAttribute("aria-label", `${LABEL}: ${value.name}`); }
    seen.append(node);
  }
  tell((value.notes || []).join(" "));
  if (SOUND && value.seconds) window.affektSpan("seconds", value.seconds);
}

async function take(file) {
  const number = ++count;
  tell("Checking ...");
  try {
    const { path } = await upload(file);
    const found = await server.taken({ path, name: file.name, field: FIELD });
    if (number !== count) return;
    if (found.wrong) { props.value = null; show(); tell(found.wrong, true); return; }
    tell("");
    props.value = found;
    show();
    trigger("settled");
    if (CAMERA) {
      const { notes, ...more } = await server.looked(found);
      if (number !== count || !props.value) return;
      props.value = { ...found, ...more, notes: [...(found.notes || []), ...notes] };
      show();
      trigger("settled");
    }
  } catch (error) { tell(`${file.name} could not be uploaded: ${error.message || error}`, true); }
}

async function record(pressed) {
  if (recorder) { recorder.stop(); return; }
  try {
    const stream = await navigator.mediaDevices.getUserMedia({ audio: true }), parts = [];
    recorder = new MediaRecorder(stream);
    recorder.ondataavailable = (event) => parts.push(event.data);
    recorder.onstop = () => {
      for (const track of stream.getTracks()) track.stop();
      const ending = recorder.mimeType.includes("mp4") ? "mp4" : "webm";
      recorder = null;
      pressed.textContent = "● Record";
      take(new File(parts, `recording.${ending}`, { type: `audio/${ending}` }));
    };
    recorder.start();
    pressed.textContent = "■ Stop recording";
  } catch (error) { tell(`No microphone: ${error.message || error}`, true); }
}

async function photograph(pressed) {
  let film = find(".drop video");
  try {
    if (!film) {
      film = document.createElement("video");
      film.srcObject = await navigator.mediaDevices.getUserMedia({ video: true });
      find(".drop").append(film);
      await film.play();
      pressed.textContent = "Take the picture";
      return;
    }
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [film.videoWidth, film.videoHeight];
    canvas.getContext("2d").drawImage(film, 0, 0);
    for (const track of film.srcObject.getTracks()) track.stop();
    film.remove();
    pressed.textContent = "Camera";
    canvas.toBlob((blob) => take(new File([blob], "camera.jpg", { type: "image/jpeg" })), "image/jpeg", 0.95);
  } catch (error) { tell(`No camera: ${error.message || error}`, true); }
}

input.addEventListener("change", () => { if (input.files.length) take(input.files[0]); input.value = ""; });
root.addEventListener("click", (event) => {
  const asked = event.target.dataset.do;
  if (asked === "record") record(event.target);
  if (asked === "camera") photograph(event.target);
  if (asked === "remove") { count++; props.value = null; tell(""); show(); trigger("settled"); input.focus(); }
});
root.addEventListener("dragover", (event) => { event.preventDefault(); root.classList.add("over"); });
root.addEventListener("dragleave", () => root.classList.remove("over"));
root.addEventListener("drop", (event) => {
  event.preventDefault();
  root.classList.remove("over");
  if (event.dataTransfer.files.length) take(event.dataTransfer.files[0]);
});
root.addEventListener("paste", (event) => { if (event.clipboardData.files.length) take(event.clipboardData.files[0]); });
watch("value", show);
show();
