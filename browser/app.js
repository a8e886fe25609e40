// The page: what is chosen, and how answers are shown.

import { Refusal, decode, prepare, requireWebAssembly, run } from "./network.js";

const $ = (id) => document.getElementById(id);
const state = { networks: [], bitmap: null, name: "", turn: 0, byHand: false };

const chosen = () => state.networks.find(({ name }) => name === $("network").value);
const percent = (x) => `${(100 * x).toFixed(1)} %`;

function say(text, refusal = false) {
  $("status").textContent = text;
  $("status").classList.toggle("refusal", refusal);
}

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function classes(title, categories, probabilities) {
  const order = probabilities.map((_, index) => index).sort((a, b) => probabilities[b] - probabilities[a]);
  const list = element("ol");
  for (const index of order.slice(0, 5)) {
    const fill = element("i");
    fill.style.width = `${100 * probabilities[index]}%`;
    const item = element("li", {}, element("span", { textContent: categories[index] }));
    item.append(element("span", { className: "bar" }, fill), element("b", { textContent: percent(probabilities[index]) }));
    Object.assign(item.dataset, { label: categories[index], probability: probabilities[index] });
    list.append(item);
  }
  return element("div", {}, element("h3", { textContent: title }), list);
}

function drawSeen({ rgb, size }) {
  const canvas = Object.assign($("seen"), { width: size, height: size });
  const image = new ImageData(size, size);
  for (let i = 0; i < size * size; i++) image.data.set([rgb[3 * i], rgb[3 * i + 1], rgb[3 * i + 2], 255], 4 * i);
  canvas.getContext("2d").putImageData(image, 0, 0);
}

function drawGate({ values, means }) {
  const canvas = element("canvas", { width: values.length * Math.ceil(768 / values.length), height: 48 });
  const context = canvas.getContext("2d");
  const step = canvas.width / values.length;
  const style = getComputedStyle(document.documentElement);
  values.forEach((value, i) => {
    context.fillStyle = style.getPropertyValue("--accent");
    context.fillRect(i * step, 48 * (1 - value), Math.max(1, step - 1), 48 * value);
    context.fillStyle = style.getPropertyValue("--ink");
    context.fillRect(i * step, 48 * (1 - means[i]) - 0.5, Math.max(1, step - 1), 1);
  });
  return canvas;
}

function showGates(gates) {
  $("gates").replaceChildren();
  for (const [stage, group] of Object.entries(Object.groupBy(gates, (gate) => gate.stage))) {
    $("gates").append(element("h3", { textContent: `Stage ${stage}` }));
    for (const gate of group) {
      const values = Array.from(gate.values);
      const share = (test) => Math.round((100 * values.filter(test).length) / values.length);
      const mean = values.reduce((sum, x) => sum + x, 0) / values.length;
      const text =
        `${gate.name}: ${values.length} channels, mean ${mean.toFixed(2)}, from ${Math.min(...values).toFixed(2)} ` +
        `to ${Math.max(...values).toFixed(2)}; ${share((x) => x < 0.1)} % nearly shut, ${share((x) => x > 0.9)} % nearly open`;
      const drawing = drawGate({ values, means: gate.means });
      drawing.setAttribute("aria-hidden", "true"); // the line above it says the same
      $("gates").append(element("div", { className: "gate" }, element("p", { textContent: text }), drawing));
    }
  }
  $("gates-section").hidden = gates.length === 0;
}

async function show() {
  const network = chosen();
  if (!network) return;
  $("knows").textContent = `${network.about} It knows ${network.categories.join(", ")}, and nothing else.`;
  if (!state.bitmap) return;
  const turn = ++state.turn;
  say(`${network.title} is looking at ${state.name}.`);
  try {
    const prepared = prepare(state.bitmap, network.preprocessing);
    const answer = await run(network, prepared.input);
    const held = $("held").checked ? await run(network, prepared.input, 0) : null;
    const twin = network.twin ? await run(network.twin, prepared.input) : null;
    if (turn !== state.turn) return; // another picture was chosen meanwhile
    drawSeen(prepared);
    $("lists").replaceChildren(classes(network.title, network.categories, answer.probabilities));
    if (held) $("lists").append(classes("its gates held at their mean", network.categories, held.probabilities));
    if (twin) $("lists").append(classes(network.twin.title, network.categories, twin.probabilities));
    showGates(answer.gates);
    $("answer").hidden = false;
    const best = answer.probabilities.indexOf(Math.max(...answer.probabilities));
    say(`${state.name}: ${network.categories[best]}, ${percent(answer.probabilities[best])}.`);
  } catch (error) {
    if (turn === state.turn) refuse(error);
  }
}

function refuse(error) {
  if (!(error instanceof Refusal)) console.error(error);
  $("answer").hidden = $("gates-section").hidden = true;
  const known = error instanceof Refusal;
  say(known ? error.message : `This did not work: ${error.message || error}. A smaller picture may.`, true);
}

async function take(blob, name) {
  try {
    state.bitmap?.close();
    state.bitmap = null;
    say(`Reading ${name}.`);
    state.bitmap = await decode(blob);
    state.name = name;
  } catch (error) {
    state.turn++;
    refuse(error);
    return;
  }
  await show();
}

async function camera() {
  const video = $("video");
  if (video.srcObject) {
    const canvas = element("canvas", { width: video.videoWidth, height: video.videoHeight });
    canvas.getContext("2d").drawImage(video, 0, 0);
    video.srcObject.getTracks().forEach((track) => track.stop());
    video.srcObject = null;
    video.hidden = true;
    $("camera").textContent = "Camera";
    canvas.toBlob((blob) => take(blob, "the camera's picture"), "image/png");
    return;
  }
  try {
    video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
    video.hidden = false;
    await video.play();
    $("camera").textContent = "Take the picture";
  } catch (error) {
    say(`The camera cannot be used: ${error.message || error.name}.`, true);
  }
}

function listen() {
  $("file").addEventListener("change", ({ target }) => {
    if (target.files[0]) take(target.files[0], target.files[0].name);
    target.value = ""; // so that the same file can be chosen again
  });
  $("network").addEventListener("change", () => {
    state.byHand = true;
    show();
  });
  $("held").addEventListener("change", show);
  $("camera").addEventListener("click", camera);
  $("camera").hidden = !navigator.mediaDevices?.getUserMedia;
  document.addEventListener("paste", ({ clipboardData }) => {
    if (clipboardData.files[0]) take(clipboardData.files[0], "the pasted picture");
  });
  for (const type of ["dragover", "drop", "dragleave"])
    document.addEventListener(type, (event) => {
      event.preventDefault();
      $("drop").classList.toggle("over", type === "dragover");
      const file = type === "drop" && event.dataTransfer.files[0];
      if (file) take(file, file.name);
      else if (type === "drop") say("What was dropped is no file.", true);
    });
}

function unreachable() {
  throw new Refusal("The list of networks could not be fetched: there is no connection. Open the page again when there is one.");
}

async function begin() {
  listen();
  try {
    requireWebAssembly();
    const page = await (await fetch("networks.json").catch(unreachable)).json();
    state.networks = page.networks;
    $("network").replaceChildren(...page.networks.map(({ name, title }) => new Option(title, name)));
    $("made").textContent = page.made;
    for (const sample of page.samples) {
      const button = element("button", { type: "button" }, element("img", { src: sample, alt: sample.match(/(\w+)\.\w+$/)[1] }));
      button.addEventListener("click", async () => {
        if (!state.byHand) $("network").value = page.samplesFor; // the one that knows what they show
        await take(await (await fetch(sample)).blob(), sample.match(/[^/]+$/)[0]);
      });
      $("samples").append(element("li", {}, button));
    }
    say("Choose a picture.");
    await show();
  } catch (error) {
    refuse(error);
  }
  if ("serviceWorker" in navigator) await navigator.serviceWorker.register("worker.js").catch(() => {});
  document.documentElement.dataset.ready = "yes";
}

begin();
