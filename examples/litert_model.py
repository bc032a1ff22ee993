"""Ask a LiteRT model; the spectrogram is made by emogram.

emogram export runs/NAME --to litert --out model.tflite && python litert_model.py model.tflite CLIP.wav
"""

import json
import sys
import zipfile

from ai_edge_litert.interpreter import Interpreter

from emogram.audio import load_audio
from emogram.config import SpectrogramConfig
from emogram.spectrogram import model_input

with zipfile.ZipFile(sys.argv[1]) as files:  # labels and settings stand behind the network in the same file
    metadata = json.loads(files.read("emogram.json"))
labels = json.loads(metadata["emogram.labels"])
config = SpectrogramConfig.from_dict(json.loads(metadata["emogram.spectrogram"]))
spectrogram = model_input(load_audio(sys.argv[2], sample_rate=config.sample_rate), config)[None]

interpreter = Interpreter(sys.argv[1])
(node,) = interpreter.get_input_details()
interpreter.resize_tensor_input(node["index"], spectrogram.shape)
interpreter.allocate_tensors()
interpreter.set_tensor(node["index"], spectrogram)
interpreter.invoke()
(probabilities,) = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
for probability, label in sorted(zip(probabilities, labels, strict=True), reverse=True):
    print(f"{label}\t{probability:.4f}")
