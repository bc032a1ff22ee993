// The same in Node: node node.mjs SAMPLES.f32 reads raw 32-bit floats, mono at the model's rate, and prints JSON.
import { readFile } from "node:fs/promises";
import * as ort from "onnxruntime-web";
import { load, predict } from "./emogram.mjs";

ort.env.wasm.numThreads = 1;
const report = JSON.parse(await readFile("model.onnx.json"));
const model = await load(ort, await readFile("model.onnx"), report);
const bytes = await readFile(process.argv[2]);
const samples = new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
console.log(JSON.stringify(await predict(model, samples)));
