"""Train a network of the house by plain Keras on another back end: a request on stdin, seconds on stdout."""

import json
import os
import sys
import time
from pathlib import Path

request = json.load(sys.stdin)
os.environ["KERAS_BACKEND"] = request["backend"]
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

import keras  # noqa: E402
import numpy as np  # noqa: E402

from emogram.config import NetworkConfig  # noqa: E402
from emogram.network import InputShapes, build_network  # noqa: E402

if request["backend"] == "tensorflow":
    import tensorflow

    tensorflow.config.threading.set_intra_op_parallelism_threads(1)
    tensorflow.config.threading.set_inter_op_parallelism_threads(1)

keras.utils.set_random_seed(0)
keras.config.set_dtype_policy(request["precision"])
network = build_network(
    InputShapes(tuple(request["shape"])), request["n_labels"], NetworkConfig(network=request["network"])
)
# On TensorFlow and JAX, Keras compiles the step; "auto" is its default.
network.compile(
    optimizer=keras.optimizers.Adam(5e-3),
    loss=keras.losses.CategoricalCrossentropy(label_smoothing=0.1),
)
random = np.random.default_rng(0)
inputs = random.random(request["inputs"], dtype=np.float32)
targets = np.eye(request["n_labels"], dtype=np.float32)[np.arange(len(inputs)) % request["n_labels"]]
for _ in range(2):
    network.train_on_batch(inputs, targets)
runs = []
for _ in range(request["n_runs"]):
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    for _ in range(request["n_steps"]):
        network.train_on_batch(inputs, targets)
    runs.append({"wall_s": time.perf_counter() - wall_s, "cpu_s": time.process_time() - cpu_s})
print(json.dumps(runs))
