// Pillow's antialiased resize, to the same bytes: Pillow's src/libImaging/Resample.c, 8 bits a channel.

const FILTERS = {
  bilinear: { support: 1, at: (x) => Math.max(0, 1 - Math.abs(x)) },
  bicubic: {
    support: 2,
    at: (x) => {
      const a = -0.5;
      const t = Math.abs(x);
      if (t < 1) return ((a + 2) * t - (a + 3)) * t * t + 1;
      return t < 2 ? (((t - 5) * t + 8) * t - 4) * a : 0;
    },
  },
};
const ONE = 2 ** 22; // Pillow's fixed point: 32 bits less 8 of the value and 2 of head room

/** First source pixel and integer weights of every target pixel. */
export function coefficients(from, to, name) {
  const filter = FILTERS[name];
  if (!filter) throw new Error(`pictures are resized by ${Object.keys(FILTERS).join(" or ")}, not by ${name}`);
  const scale = from / to;
  const stretched = Math.max(1, scale);
  const support = filter.support * stretched;
  return Array.from({ length: to }, (_, target) => {
    const centre = (target + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - support + 0.5));
    const last = Math.min(from, Math.trunc(centre + support + 0.5));
    const weights = [];
    for (let x = first; x < last; x++) weights.push(filter.at((x - centre + 0.5) / stretched));
    const sum = weights.reduce((total, weight) => total + weight, 0);
    return { first, weights: weights.map((weight) => rounded((weight / sum) * ONE)) };
  });
}

const rounded = (x) => Math.trunc(x < 0 ? x - 0.5 : x + 0.5);
const clipped = (sum) => Math.min(255, Math.max(0, Math.floor((sum + ONE / 2) / ONE)));

/** Resize rows of RGBA pixels to ``coefficients.length`` pixels a row of RGB. */
export function resizeRows(rgba, width, rows, coefficients) {
  const out = new Uint8ClampedArray(rows * coefficients.length * 3);
  for (let row = 0, at = 0; row < rows; row++) {
    for (const { first, weights } of coefficients) {
      let [r, g, b] = [0, 0, 0];
      for (let i = 0, pixel = (row * width + first) * 4; i < weights.length; i++, pixel += 4) {
        r += rgba[pixel] * weights[i];
        g += rgba[pixel + 1] * weights[i];
        b += rgba[pixel + 2] * weights[i];
      }
      out[at++] = clipped(r);
      out[at++] = clipped(g);
      out[at++] = clipped(b);
    }
  }
  return out;
}

/** Resize columns of RGB pixels. */
export function resizeColumns(rgb, width, coefficients) {
  const row = width * 3;
  const out = new Uint8ClampedArray(coefficients.length * row);
  coefficients.forEach(({ first, weights }, target) => {
    for (let x = 0; x < row; x++) {
      let sum = 0;
      for (let i = 0; i < weights.length; i++) sum += rgb[(first + i) * row + x] * weights[i];
      out[target * row + x] = clipped(sum);
    }
  });
  return out;
}

/** torchvision's Resize(shorter) and CenterCrop(size): the resized size, and where the crop begins. */
export function geometry(width, height, shorter, size) {
  const longer = Math.trunc((shorter * Math.max(width, height)) / Math.min(width, height));
  const [w, h] = width <= height ? [shorter, longer] : [longer, shorter];
  return { width: w, height: h, left: halfToEven((w - size) / 2), top: halfToEven((h - size) / 2) };
}

function halfToEven(x) {
  const floor = Math.floor(x);
  return x - floor === 0.5 ? floor + (floor % 2) : Math.round(x);
}
