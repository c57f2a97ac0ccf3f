"""Files of weights as other people's programs write them: those that hold our network are read, others are named."""

import argparse
import collections
import gzip
import io
import pickle
import re
import shlex
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from artnet.models import build_model
from artnet.models.pretrained import load_pretrained
from shards.errors import UserError

pytestmark = pytest.mark.usefixtures("one_thread")


def network(**names):
    return build_model(
        **{"backbone": "resnet18", "recurrence": "none", "attention": "none", "classes": {"style": 3}, **names}
    )


def weights(start=0, **names):
    """torchvision's names of a network, each tensor filled with a number of its own: files of a few kilobytes."""
    with torch.device("meta"):
        state = network(**names).state_dict()
    return {
        name.replace("heads.style.", "fc."): torch.tensor((start + place) / 64).to(tensor.dtype).expand(tensor.shape)
        for place, (name, tensor) in enumerate(state.items())
    }


PLAIN = weights()
OTHER = weights(start=200)  # of the same network
TRUNK = {name: tensor for name, tensor in PLAIN.items() if not name.startswith("fc.")}
OPTIMIZER = {"state": {0: {"momentum_buffer": torch.zeros(64, 3, 7, 7)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}


@pytest.fixture(scope="module")
def model():
    return network()


def behind(prefix, state=PLAIN):
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


def headed(name):
    return {theirs.replace("fc.", name): tensor for theirs, tensor in PLAIN.items()}


def written(content, file):
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        torch.save(content, file)
    return str(file)


def check_loaded(model, state, head=True):
    for name, tensor in model.state_dict().items():
        theirs = name.replace("heads.style.", "fc.")
        if not name.endswith("num_batches_tracked") and (head or not name.startswith("heads.")):
            assert torch.equal(tensor, state[theirs].to(tensor.dtype)), name


WRAPPERS = ("model", "model_state_dict", "state_dict", "net", "network", "student", "teacher", "ema", "model_ema")
PREFIXES = (
    "module.", "_orig_mod.", "module._orig_mod.", "model.", "net.", "backbone.", "encoder_q.", "module.encoder_q.",
    "student.", "teacher.", "model.backbone.", "_orig_mod.module.model.",
)  # fmt: skip
HEADS = ("classifier.", "head.", "last_linear.", "head.fc.", "linear.", "fc.1.")
ACCEPTED = {
    "plain": PLAIN,
    **{f"key {key}": {"epoch": 3, "optimizer": OPTIMIZER, key: PLAIN} for key in WRAPPERS},
    **{f"prefix {prefix}": {"state_dict": behind(prefix)} for prefix in PREFIXES},
    **{f"head {name}": headed(name) for name in HEADS},
    "nested": {"state": {"model": {"state_dict": behind("module.")}}, "meta": {"epoch": 3}},
    "an ordered dict": {"state_dict": collections.OrderedDict(PLAIN)},
    "no counters": {name: tensor for name, tensor in PLAIN.items() if "num_batches" not in name},
    "counters of length 1": {n: t[None] if "num_batches" in n else t for n, t in PLAIN.items()},
    "parameters": {n: nn.Parameter(t, requires_grad=t.is_floating_point()) for n, t in PLAIN.items()},
    "thop": {**PLAIN, "total_ops": torch.zeros(1), "layer1.0.conv1.total_params": torch.zeros(1)},
    "extra states": {**PLAIN, "layer1._extra_state": torch.zeros(0), "conv1._extra_state": None},
    "float64": {n: t.double() if t.is_floating_point() else t for n, t in PLAIN.items()},
    "Lightning": {
        "pytorch-lightning_version": "2.5.0", "epoch": 3, "global_step": 7, "loops": {}, "callbacks": {},
        "optimizer_states": [OPTIMIZER], "lr_schedulers": [], "hyper_parameters": {"lr": 0.1},
        "state_dict": {**behind("model."), "criterion.weight": torch.ones(3)},
    },
    "a head beside": {**behind("backbone.", TRUNK), "classifier.weight": PLAIN["fc.weight"],
                      "classifier.bias": PLAIN["fc.bias"]},
}  # fmt: skip


@pytest.mark.parametrize("case", ACCEPTED)
def test_the_same_network_is_read_however_it_is_saved(model, tmp_path, case):
    assert "from scratch" not in load_pretrained(model, written(ACCEPTED[case], tmp_path / "w.pth"), "resnet18")
    check_loaded(model, PLAIN)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_in_half_precision_are_read(model, tmp_path, dtype):
    half = {name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in PLAIN.items()}
    load_pretrained(model, written(half, tmp_path / "w.pth"), "resnet18")
    check_loaded(model, half)


def test_files_of_torch_before_1_6_are_read(model, tmp_path):
    torch.save({"state_dict": PLAIN}, tmp_path / "w.pth.tar", _use_new_zipfile_serialization=False)
    load_pretrained(model, str(tmp_path / "w.pth.tar"), "resnet18")
    check_loaded(model, PLAIN)


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_safetensors_are_read_whatever_their_name(model, tmp_path, name):
    save_file({name: tensor.contiguous() for name, tensor in PLAIN.items()}, tmp_path / name)
    load_pretrained(model, str(tmp_path / name), "resnet18")
    check_loaded(model, PLAIN)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-9])
    with pytest.raises(UserError, match=r"^pretrained: \S+ is broken \([^\n]+; download or copy it again$"):
        load_pretrained(model, str(tmp_path / name), "resnet18")


def hugging_face(name):
    """The name in `ResNetForImageClassification` of transformers."""
    stages = (r"^layer(\d)\.(\d+)\.", lambda m: f"resnet.encoder.stages.{int(m[1]) - 1}.layers.{m[2]}.")
    convs = (r"\.conv(\d)\.", lambda m: f".layer.{int(m[1]) - 1}.convolution.")
    norms = (r"\.bn(\d)\.", lambda m: f".layer.{int(m[1]) - 1}.normalization.")
    for pattern, theirs in (
        (r"^conv1\.", "resnet.embedder.embedder.convolution."), (r"^bn1\.", "resnet.embedder.embedder.normalization."),
        (r"^fc\.", "classifier.1."), stages, convs, norms,
        (r"\.downsample\.0\.", ".shortcut.convolution."), (r"\.downsample\.1\.", ".shortcut.normalization."),
    ):  # fmt: skip
        name = re.sub(pattern, theirs, name)
    return name


def sequential(name):
    """The name in `nn.Sequential(*resnet.children())`."""
    children = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4", "avgpool", "fc")
    first, _, rest = name.partition(".")
    return f"encoder.{children.index(first)}.{rest}"


@pytest.mark.parametrize("rename", [hugging_face, sequential])
@pytest.mark.parametrize("backbone", ["resnet18", "resnet50"])
def test_other_names_of_the_same_layers_are_read(tmp_path, backbone, rename):
    state, ours = weights(backbone=backbone), network(backbone=backbone)
    theirs = {rename(name): tensor for name, tensor in state.items()}
    load_pretrained(ours, written(theirs, tmp_path / "w.pth"), backbone)
    check_loaded(ours, state)


@pytest.mark.parametrize(
    ("content", "average"),
    [
        ({"state_dict_ema": OTHER, "state_dict": PLAIN}, "state_dict_ema"),
        (
            {"model": PLAIN, "model_ema": {"n_averaged": torch.tensor(9), **behind("module.", OTHER)}},
            "model_ema.module",
        ),
        ({"student": behind("module.", PLAIN), "teacher": OTHER}, "teacher"),
        ({**behind("ema_model.", OTHER), **behind("model.", PLAIN)}, "ema_model"),
        ({"learner": {"model": PLAIN, "average": {"model": OTHER, "updates": 3}}}, "learner.average.model"),
    ],
)
def test_a_moving_average_is_taken_only_if_asked_for_and_named(model, tmp_path, content, average):
    file = written(content, tmp_path / "w.pth")
    assert f"; not from the moving average in {average}, which weights_ema: true" in load_pretrained(model, file, "")
    check_loaded(model, PLAIN)
    assert f"w.pth ({average}, a moving average)" in load_pretrained(model, file, "", average=True)
    check_loaded(model, OTHER)
    with pytest.raises(UserError, match=r"w\.pth holds no moving average of its weights; leave out weights_ema$"):
        load_pretrained(model, written(PLAIN, tmp_path / "w.pth"), "", average=True)


def test_of_momentum_contrast_the_trained_encoder_is_taken_without_its_projection(model, tmp_path):
    projection = {f"fc.{layer}.weight": torch.zeros(size, 512) for layer, size in ((0, 512), (2, 3))}
    content = {
        **behind("module.encoder_k.", {**OTHER, **projection}), **behind("module.encoder_q.", {**TRUNK, **projection}),
        "module.queue": torch.zeros(3, 8), "module.queue_ptr": torch.zeros(1),
    }  # fmt: skip
    before = model.heads["style"].weight.clone()
    said = load_pretrained(model, written({"state_dict": content}, tmp_path / "w.pth"), "resnet18")
    assert "(state_dict.module.encoder_q)" in said
    assert "; left out: module.encoder_k, fc, module.queue, ...; from scratch: the head for style" in said
    check_loaded(model, PLAIN, head=False)
    assert torch.equal(model.heads["style"].weight, before)


def zipped(**files):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "/"), content)
    return out.getvalue()


def saved(content, **options):
    out = io.BytesIO()
    torch.save(content, out, **options)
    return out.getvalue()


def scripted():
    out = io.BytesIO()
    torch.jit.save(torch.jit.script(nn.Linear(1, 1)), out)
    return out.getvalue()


BAD = {**PLAIN, "layer2.0.conv1.weight": torch.tensor(torch.nan).expand(128, 64, 3, 3)}
REFUSED = {
    "nothing": (b"", "is empty; download"),
    "zeros": (bytes(5000), "begins with zeros alone"),
    "a web page": (b"\n<!doctype HTML><html>Sign in</html>", "is a web page"),
    "another web page": (b"<html lang='en'>", "is a web page"),
    "an error of a store": (b"<?xml version='1.0'?><Error>AccessDenied</Error>", "is a web page (HTML or XML)"),
    "an answer": (b"Entry not found", "is text that begins with 'Entry not found', not weights"),
    "JSON": (b'{"error": "gated"}', """is text that begins with '{"error": "gated"}', not weights"""),
    "an index": (b'{"weight_map": {"a": "b"}}', "is an index of weights in several files"),
    "Git LFS": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "is a pointer of Git LFS, not the weig"),
    "gzip": (gzip.compress(saved(PLAIN)), "is compressed with gzip; unpack it"),
    "a zip archive": (zipped(weights__resnet="x"), "did not write, which holds weights/resnet; unpack it"),
    "Keras": (b"\x89HDF\r\n\x1a\n" + bytes(99), "is an HDF5 file, as Keras and TensorFlow write"),
    "Keras 3": (zipped(**{"metadata.json": "{}", "config.json": "{}", "model.weights.h5": ""}), "is a file of Keras"),
    "NumPy": (zipped(**{"conv1.npy": "", "fc.npy": ""}), "is an archive of NumPy"),
    "ONNX": (b"\x08\x08\x12\x07pytorch\x1a\x052.14.1:\x8b", "is an ONNX file"),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(9), "is a picture"),
    "TorchScript": (scripted(), "is a TorchScript archive; save its weights alone: torch.save(torch.jit.load("),
    "half a file": (saved(PLAIN)[:-900], "is broken (it is cut short); download"),
    "the first bytes": (saved(PLAIN)[:3000], "is broken (it is cut short); download"),
    "half an old file": (saved(PLAIN, _use_new_zipfile_serialization=False)[:-9], "is broken (it is cut short or dam"),
    "noise": (b"\x93\xff" * 999, "is broken ("),
    "NaN": (BAD, "holds NaN in layer2.0.conv1.weight (73728 of 73728 values); give a checkpoint from before"),
    "infinity": ({**PLAIN, "bn1.bias": torch.full((64,), torch.inf)}, "holds infinite values in bn1.bias (64 of 64"),
    "too large": ({n: t.double() * 1e300 for n, t in PLAIN.items()}, " more tensors; give a checkpoint from before"),
    "other names": ({"blocks.0.attn.qkv.weight": torch.zeros(3, 3)}, "'blocks.0.attn.qkv.weight', ours such as 'l"),
    "no weights": ({"epoch": 3, "optimizer": OPTIMIZER}, "holds no state dict"),
    "parameters alone": ({n: t for n, t in PLAIN.items() if "running" not in n}, "lacks the running statistics of"),
    "resnet50": (weights(backbone="resnet50"), "holds a resnet50, and this network is a resnet18; set model.backbone:"),
    "resnet34": ({"model": weights(backbone="resnet34")}, "holds a resnet34, and this network is a resnet18"),
    "more blocks": ({**PLAIN, "layer1.2.conv1.weight": torch.zeros(1)}, "holds a network of 3, 2, 2, 2 basic blocks"),
    "resnet50d": (
        {("conv1.0.weight" if n == "conv1.weight" else n): t for n, t in PLAIN.items()},
        "has a first layer of several convolutions (conv1.0.weight), as timm's resnet50d",
    ),
    "another stem": ({**PLAIN, "conv1.weight": torch.zeros(64, 3, 3, 3)}, "is 64 x 3 x 3 x 3 in the file and 64 x"),
    "sparse": ({**PLAIN, "bn1.bias": torch.zeros(64).to_sparse()}, "holds bn1.bias as a sparse tensor (sparse_coo)"),
    "complex": ({**PLAIN, "bn1.bias": torch.zeros(64) * 1j}, "holds bn1.bias as complex numbers"),
}  # fmt: skip


def refusal(model, file):
    """What is said of a file: one sentence without control characters, that names it."""
    with pytest.raises(UserError) as refused:
        load_pretrained(model, str(file), "resnet18")
    said = str(refused.value)
    assert said.startswith(f"pretrained: {file} ")
    assert said.isprintable()
    return said


@pytest.mark.filterwarnings("ignore:`torch.jit", "ignore:Validating sparse tensor")
@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_file_of_these_weights_is_named(model, tmp_path, case):
    content, said = REFUSED[case]
    assert said in refusal(model, written(content, tmp_path / "w.pth"))


FOREIGN = {
    "a namespace": ({"args": argparse.Namespace(lr=0.1), "model": PLAIN}, {}, "(argparse.Namespace)"),
    "a scalar": ({"best": np.float64(1), "state": {"net": PLAIN}}, {}, "(numpy._core.multiarray.scalar, numpy.dtype)"),
    "arrays": ({n: t.numpy() for n, t in PLAIN.items()}, {}, "(numpy._core.multiarray._reconstruct, numpy.ndarray, n"),
    "an old file": ({"args": argparse.Namespace(), "net": PLAIN}, {"_use_new_zipfile_serialization": False}, "(argpa"),
    "a default": ({"log": collections.defaultdict(list), "model": PLAIN}, {}, "(collections.defaultdict)"),
    "a network": ({"epoch": 1, "net": nn.Sequential(nn.Linear(1, 1))}, {}, "holds a whole network (torch.nn.modules."),
    "a protocol": ({"state_dict": PLAIN}, {"pickle_protocol": 4}, "is written in pickle's protocol 4"),
}


@pytest.mark.parametrize("case", [*FOREIGN, "a plain pickle"])
def test_the_class_in_a_file_is_named_and_the_command_that_saves_its_weights_alone_works(
    model, tmp_path, monkeypatch, case
):
    file = tmp_path / "it's.pth"
    content, options, named = FOREIGN.get(case, ({"net": {n: t.numpy() for n, t in PLAIN.items()}}, {}, "numpy.ndarra"))
    file.write_bytes(pickle.dumps(content) if case not in FOREIGN else saved(content, **options))
    said = refusal(model, file)
    assert named in said
    *_, command = shlex.split(said.partition(" python -c ")[2].removesuffix(" makes one"))[:1]
    monkeypatch.chdir(tmp_path)
    exec(command)  # noqa: S102  # the command that is under test
    if case == "a network":
        assert torch.load("weights.pth").keys() == {"0.weight", "0.bias"}
    else:
        load_pretrained(model, "weights.pth", "resnet18")
        check_loaded(model, PLAIN)


@pytest.mark.parametrize(
    ("theirs", "ours", "said"),
    [
        *(
            ({"recurrence": kind}, {"recurrence": kind, "recurrent_channels": 16},
             "recurrent_channels 32 in the file, 16 in the config; set model.recurrent_channels: 32")
            for kind in ("rla", "lstm", "gru")
        ),
        ({"recurrence": "rla"}, {"recurrence": "lstm"}, "recurrence rla, and this network lstm; set model.recurrence:"),
        ({"recurrence": "gru"}, {"recurrence": "rla"}, "recurrence gru, and this network rla; set model.recurrence:"),
        ({"recurrence": "lstm"}, {"recurrence": "gru"}, "recurrence lstm, and this network gru; set model.recurrence:"),
        ({"attention": "se"}, {"attention": "se", "se_reduction": 8}, "se_reduction 16 in the file, 8 in the config"),
        ({"attention": "cbam"}, {"attention": "se"}, "attention cbam, and this network se; set model.attention: cbam"),
        ({"attention": "eca"}, {"attention": "cbam"}, "attention eca, and this network cbam"),
        ({"attention": "cbam_channel"}, {"attention": "eca"}, "attention cbam_channel, and this network eca"),
        ({"attention": "se"}, {}, "attention, which this network lacks; set model.attention to se"),
        ({"recurrence": "lstm"}, {}, "recurrence, which this network lacks; set model.recurrence to lstm"),
        ({"backbone": "resnet50"}, {"backbone": "resnet34", "recurrence": "lstm"}, "resnet50, and this network is"),
    ],
)  # fmt: skip
def test_how_the_network_of_a_file_differs_is_said_in_terms_of_the_configuration(tmp_path, theirs, ours, said):
    assert said in refusal(network(**ours), written({"model": weights(**theirs)}, tmp_path / "w.pth"))
