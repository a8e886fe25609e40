// A picture to what a network answers: decode, resize as Python does, run ONNX Runtime.

import * as ort from "./ort/ort.wasm.min.js";
import { coefficients, geometry, resizeColumns, resizeRows } from "./resize.js";

const runtime = (suffix) => new URL(`./ort/ort-wasm-simd-threaded.${suffix}`, import.meta.url).href;
ort.env.wasm.wasmPaths = { mjs: runtime("js"), wasm: runtime("wasm") };
ort.env.wasm.numThreads = 1; // more need headers that a plain file server does not send

const STRIP = 2 ** 22; // pixels that are read back at once
const MOST_RESIZED = 2 ** 26; // as in senet_zoo.data.pictures
const MOST_PIXELS = 178956970; // Pillow's limit against decompression bombs

// (module (func (result v128) i32.const 0 i8x16.splat i8x16.popcnt)): a browser without SIMD does not take it
const SIMD = [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11];

/** A sentence for the reader, not a fault of the page. */
export class Refusal extends Error {}

export function requireWebAssembly() {
  if (typeof WebAssembly !== "object" || !WebAssembly.validate(new Uint8Array(SIMD)))
    throw new Refusal("This page needs WebAssembly with SIMD, which this browser does not have, or which is switched off.");
}

/** Pixels of a file, upright, without colour management, as Pillow gives them. */
export async function decode(blob) {
  const head = new Uint8Array(await blob.slice(0, 32).arrayBuffer());
  const brand = String.fromCharCode(...head.slice(4, 12));
  if (String.fromCharCode(...head.slice(1, 4)) === "PNG") {
    const size = new DataView(head.buffer);
    requireSmall(size.getUint32(16), size.getUint32(20)); // before it takes memory
  }
  try {
    return await createImageBitmap(blob, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  } catch {
    if (/^ftyp(hei|hev|mif1|msf1)/.test(brand))
      throw new Refusal("This is a photograph in HEIC, which this browser does not read. Save it as JPEG or PNG.");
    if (/^(II\*\0|MM\0\*)/.test(String.fromCharCode(...head.slice(0, 4))))
      throw new Refusal("This is a TIFF file, which this browser does not read. Save it as JPEG or PNG.");
    if (blob.size === 0) throw new Refusal("The file is empty.");
    throw new Refusal("This file is no picture that the browser reads, or it is damaged. JPEG, PNG, WebP and GIF are read.");
  }
}

function requireSmall(width, height) {
  if (width * height > MOST_PIXELS)
    throw new Refusal(`The picture has ${width} x ${height} pixels; at most ${MOST_PIXELS} are read. Make it smaller.`);
}

/** The input of a network, (1, 3, size, size), and the picture that it is of. */
export function prepare(bitmap, { resize, size, interpolation, mean, std }) {
  const { width, height } = bitmap;
  requireSmall(width, height);
  const target = geometry(width, height, resize, size);
  if (target.width * target.height > MOST_RESIZED || width > 65535)
    throw new Refusal(`A picture of ${width} x ${height} pixels is too thin. Cut it.`);
  const across = coefficients(width, target.width, interpolation).slice(target.left, target.left + size);
  const down = coefficients(height, target.height, interpolation).slice(target.top, target.top + size);
  const [first, last] = [down[0].first, Math.max(...down.map(({ first, weights }) => first + weights.length))];
  const narrow = new Uint8ClampedArray((last - first) * size * 3);
  const rows = Math.max(1, Math.min(last - first, Math.floor(STRIP / width)));
  const canvas = Object.assign(document.createElement("canvas"), { width, height: rows });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  for (let top = first; top < last; top += rows) {
    const count = Math.min(rows, last - top);
    context.fillStyle = "white"; // transparency lies over white
    context.fillRect(0, 0, width, rows);
    context.drawImage(bitmap, 0, top, width, count, 0, 0, width, count);
    const { data } = context.getImageData(0, 0, width, count);
    narrow.set(resizeRows(data, width, count, across), (top - first) * size * 3);
  }
  const shifted = down.map((each) => ({ ...each, first: each.first - first }));
  const rgb = resizeColumns(narrow, size, shifted);
  const pixels = size * size;
  const input = new Float32Array(3 * pixels);
  for (let i = 0; i < pixels; i++)
    for (let c = 0; c < 3; c++) input[c * pixels + i] = (rgb[3 * i + c] / 255 - mean[c]) / std[c];
  return { input: new ort.Tensor("float32", input, [1, 3, size, size]), rgb, size };
}

const sessions = new Map();

/** The session of a file, made once. */
function session(file) {
  if (!sessions.has(file)) {
    const made = load(file);
    made.catch(() => sessions.delete(file));
    sessions.set(file, made);
  }
  return sessions.get(file);
}

async function load(file) {
  requireWebAssembly();
  let bytes;
  try {
    const answer = await fetch(file);
    if (!answer.ok) throw new Error(answer.statusText);
    bytes = await answer.arrayBuffer();
  } catch {
    throw new Refusal("The network could not be fetched: there is no connection, and it was not opened here before.");
  }
  return ort.InferenceSession.create(bytes, { executionProviders: ["wasm"], graphOptimizationLevel: "all" });
}

/** Probabilities and gates. ``live`` 0 holds every gate at its mean. */
export async function run(network, input, live = 1) {
  const made = await session(network.file);
  const feeds = { pictures: input };
  if (network.gates.length) feeds.live = new ort.Tensor("float32", [live], []);
  const out = await made.run(feeds);
  return {
    probabilities: softmax(out.logits.data),
    gates: network.gates.map((gate) => ({ ...gate, values: out[gate.name].data })),
  };
}

function softmax(logits) {
  const most = Math.max(...logits);
  const powers = Array.from(logits, (logit) => Math.exp(logit - most));
  const sum = powers.reduce((total, power) => total + power, 0);
  return powers.map((power) => power / sum);
}
