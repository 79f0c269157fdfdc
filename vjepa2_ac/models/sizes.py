"""Every released size as a configuration, and which sizes each released file holds.

Widths and depths are those of the public code; parameter counts are checked against them in the tests.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from vjepa2_ac.models.ac_predictor import ACPredictorConfig
from vjepa2_ac.models.encoder import EncoderConfig
from vjepa2_ac.models.encoder_v21 import EncoderV21Config
from vjepa2_ac.models.masked_predictor import MaskedPredictorConfig
from vjepa2_ac.models.masked_predictor_v21 import MaskedPredictorV21Config
from vjepa2_ac.models.pooler import AttentiveClassifierConfig

GIANT_MLP = 48 / 11  # 1408 → 6144
GIGANTIC_MLP = 64 / 13  # 1664 → 8192

ENCODERS: dict[str, EncoderConfig] = {
    "vit-tiny": EncoderConfig(embed_dim=192, depth=12, num_heads=3),
    "vit-small": EncoderConfig(embed_dim=384, depth=12, num_heads=6),
    "vit-base": EncoderConfig(embed_dim=768, depth=12, num_heads=12),
    "vit-large": EncoderConfig(embed_dim=1024, depth=24, num_heads=16),
    "vit-huge": EncoderConfig(embed_dim=1280, depth=32, num_heads=16),
    "vit-giant": EncoderConfig(embed_dim=1408, depth=40, num_heads=16, mlp_ratio=GIANT_MLP),
    "vit-giant-xformers": EncoderConfig(embed_dim=1408, depth=40, num_heads=22, mlp_ratio=GIANT_MLP),  # released as g
    # The public V-JEPA 2 code misspells the ratio of these two and so builds them with 4; none was released.
    "vit-gigantic": EncoderConfig(embed_dim=1664, depth=48, num_heads=16),
    "vit-gigantic-xformers": EncoderConfig(embed_dim=1664, depth=48, num_heads=26),
}

ENCODERS_V21: dict[str, EncoderV21Config] = {
    "vit-base": EncoderV21Config(embed_dim=768, depth=12, num_heads=12, n_output_distillation=1),
    "vit-large": EncoderV21Config(embed_dim=1024, depth=24, num_heads=16, n_output_distillation=1),
    "vit-giant-xformers": EncoderV21Config(embed_dim=1408, depth=40, num_heads=22, mlp_ratio=GIANT_MLP),
    "vit-gigantic-xformers": EncoderV21Config(embed_dim=1664, depth=48, num_heads=26, mlp_ratio=GIGANTIC_MLP),
}

AC_PREDICTOR = ACPredictorConfig()


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """The configurations of the networks that one released file holds."""

    encoder: EncoderConfig | EncoderV21Config
    predictor: ACPredictorConfig | MaskedPredictorConfig | MaskedPredictorV21Config


def _pretrained(encoder: EncoderConfig) -> Bundle:
    predictor = MaskedPredictorConfig(embed_dim=encoder.embed_dim, img_size=encoder.img_size)
    return Bundle(encoder=encoder, predictor=predictor)


def _distilled(encoder: EncoderV21Config) -> Bundle:
    """A 2.1 model that learned from the ViT-G's deepest level."""
    predictor = MaskedPredictorV21Config(
        embed_dim=encoder.embed_dim, depth=12, n_output_distillation=1, teacher_embed_dim=1664
    )
    return Bundle(encoder=encoder, predictor=predictor)


def _pretrained_v21(encoder: EncoderV21Config) -> Bundle:
    return Bundle(encoder=encoder, predictor=MaskedPredictorV21Config(embed_dim=encoder.embed_dim))


RELEASED: dict[str, Bundle] = {
    "vitl": _pretrained(ENCODERS["vit-large"]),
    "vith": _pretrained(ENCODERS["vit-huge"]),
    "vitg": _pretrained(ENCODERS["vit-giant-xformers"]),
    "vitg-384": _pretrained(replace(ENCODERS["vit-giant-xformers"], img_size=(384, 384))),
    "vjepa2-ac-vitg": Bundle(encoder=ENCODERS["vit-giant-xformers"], predictor=AC_PREDICTOR),
    "vjepa2_1_vitb_dist_vitG_384": _distilled(ENCODERS_V21["vit-base"]),
    "vjepa2_1_vitl_dist_vitG_384": _distilled(ENCODERS_V21["vit-large"]),
    "vjepa2_1_vitg_384": _pretrained_v21(ENCODERS_V21["vit-giant-xformers"]),
    "vjepa2_1_vitG_384": _pretrained_v21(ENCODERS_V21["vit-gigantic-xformers"]),
}

PROBES: dict[str, AttentiveClassifierConfig] = {
    "ssv2-vitl-16x2x3": AttentiveClassifierConfig(embed_dim=1024, num_classes=174),
    "ssv2-vitg-384-64x2x3": AttentiveClassifierConfig(embed_dim=1408, num_classes=174),
    "diving48-vitl-256": AttentiveClassifierConfig(embed_dim=1024, num_classes=48),
    "diving48-vitg-384-32x4x3": AttentiveClassifierConfig(embed_dim=1408, num_classes=48),
}
