"""The files Meta has published for V-JEPA 2 and 2.1: their names, addresses and licence.

Names and addresses follow the public repository's README. Checksums were never published, so none are listed.
"""

from __future__ import annotations

from dataclasses import dataclass

OFFICIAL_BASE = "https://dl.fbaipublicfiles.com/vjepa2/"
HUGGING_FACE_BASE = "https://huggingface.co/"

LICENCE = """\
V-JEPA 2 is Meta's work, published at github.com/facebookresearch/vjepa2. Its README places most of the project under
the MIT licence, three data-loading files under Apache 2.0, and states no separate terms for the weights."""
HUGGING_FACE_LICENCE = "On Hugging Face, the terms of these weights are on their model card: {page}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """One published model: the name users type, what it is, and the files it consists of."""

    name: str
    what: str
    base: str
    files: tuple[str, ...]  # addresses below `base`
    folder: str | None = None  # a model of several files is kept in a folder of this name

    @property
    def local_path(self) -> str:
        """The file or folder, below the folder of downloads, in which it is kept."""
        return self.folder or self.files[0].rpartition("/")[2]

    @property
    def licence(self) -> str:
        """The text on the licence to show before a download."""
        if self.folder is None:
            return LICENCE
        return f"{LICENCE}\n{HUGGING_FACE_LICENCE.format(page=HUGGING_FACE_BASE + self.name)}"


def _official(name: str, what: str, path: str | None = None) -> Released:
    return Released(name=name, what=what, base=OFFICIAL_BASE, files=(path or f"{name}.pt",))


def _hugging_face(name: str, what: str) -> Released:
    files = tuple(f"{name}/resolve/main/{file}" for file in ("config.json", "model.safetensors"))
    return Released(name=name, what=what, base=HUGGING_FACE_BASE, files=files, folder=name.replace("/", "--"))


def _probe(name: str, what: str) -> Released:
    return _official(name, what, f"evals/{name}.pt")


_ALL = (
    _official("vjepa2-ac-vitg", "V-JEPA 2-AC: ViT-g encoder and action-conditioned predictor, 256 px"),
    _official("vitl", "V-JEPA 2 pretraining, ViT-L, 256 px"),
    _official("vith", "V-JEPA 2 pretraining, ViT-H, 256 px"),
    _official("vitg", "V-JEPA 2 pretraining, ViT-g, 256 px"),
    _official("vitg-384", "V-JEPA 2 pretraining, ViT-g, 384 px"),
    _official("vjepa2_1_vitb_dist_vitG_384", "V-JEPA 2.1, ViT-B distilled from ViT-G, 384 px"),
    _official("vjepa2_1_vitl_dist_vitG_384", "V-JEPA 2.1, ViT-L distilled from ViT-G, 384 px"),
    _official("vjepa2_1_vitg_384", "V-JEPA 2.1, ViT-g, 384 px"),
    _official("vjepa2_1_vitG_384", "V-JEPA 2.1, ViT-G, 384 px"),
    _probe("ssv2-vitl-16x2x3", "attentive probe, Something-Something v2, for vitl"),
    _probe("ssv2-vitg-384-64x2x3", "attentive probe, Something-Something v2, for vitg-384"),
    _probe("diving48-vitl-256", "attentive probe, Diving48, for vitl"),
    _probe("diving48-vitg-384-32x4x3", "attentive probe, Diving48, for vitg-384"),
    _probe("ek100-vitl-256", "action anticipation probe, EPIC-KITCHENS-100, for vitl"),
    _probe("ek100-vitg-384", "action anticipation probe, EPIC-KITCHENS-100, for vitg-384"),
    _hugging_face("facebook/vjepa2-vitl-fpc64-256", "V-JEPA 2 pretraining, ViT-L, 256 px, Hugging Face layout"),
    _hugging_face("facebook/vjepa2-vith-fpc64-256", "V-JEPA 2 pretraining, ViT-H, 256 px, Hugging Face layout"),
    _hugging_face("facebook/vjepa2-vitg-fpc64-256", "V-JEPA 2 pretraining, ViT-g, 256 px, Hugging Face layout"),
    _hugging_face("facebook/vjepa2-vitg-fpc64-384", "V-JEPA 2 pretraining, ViT-g, 384 px, Hugging Face layout"),
)

RELEASED: dict[str, Released] = {model.name: model for model in _ALL}
