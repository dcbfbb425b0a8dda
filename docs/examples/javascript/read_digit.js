// The digit that a 28×28 picture shows, by inference.onnx: the same answers as infer.py's.
//
//     node read_digit.js MODEL_DIR PICTURE.pgm ...
//
// A picture is a binary PGM file of 28×28 bytes as MNIST has them: background 0, ink up to 255, the digit centred.
// In a browser the same lines run with fetch() in the place of readFile().
import { readFile } from "node:fs/promises";
import { InferenceSession, Tensor } from "onnxruntime-web";

function bytesOf(pgm) {
  const header = /^P5\s+(\d+)\s+(\d+)\s+255\s/.exec(pgm.toString("latin1", 0, 64));
  if (!header || header[1] !== header[2]) throw new Error("expected a square binary PGM picture of 8 bits");
  const side = Number(header[1]);
  return { side, bytes: pgm.subarray(header[0].length, header[0].length + side * side) };
}

// What the network takes, as card.json says it: a pixel is low + byte / 255 · (high - low), float32 [1, 1, size, size].
function networkInput({ side, bytes }, { shape, low, high, fit }) {
  const size = shape.at(-1);
  if (side !== size && fit !== "pad") throw new Error(`expected ${size}×${size} pixels, got ${side}×${side}`);
  const border = (size - side) / 2; // pad: background evenly around the picture
  const pixels = new Float32Array(size * size).fill(low);
  bytes.forEach((byte, i) => {
    const row = border + Math.floor(i / side), column = border + (i % side);
    pixels[row * size + column] = low + (byte / 255) * (high - low);
  });
  return new Tensor("float32", pixels, [1, 1, size, size]);
}

// Probabilities as card.json's temperature makes them worth: each to the power of 1 / temperature, their sum 1 again.
function tempered(probabilities, temperature = 1) {
  const powers = Array.from(probabilities, (probability) => probability ** (1 / temperature));
  const sum = powers.reduce((total, power) => total + power);
  return powers.map((power) => power / sum);
}

const [folder, ...pictures] = process.argv.slice(2);
const card = JSON.parse(await readFile(`${folder}/card.json`, "utf8"));
const session = await InferenceSession.create(await readFile(`${folder}/inference.onnx`));
for (const path of pictures) {
  const image = networkInput(bytesOf(await readFile(path)), card.input);
  const answers = await session.run({ [session.inputNames[0]]: image });
  const probabilities = tempered(answers[session.outputNames[0]].data, card.temperature);
  const best = probabilities.indexOf(Math.max(...probabilities));
  console.log(JSON.stringify({ path, digit: card.labels[best], probability: probabilities[best] }));
}
