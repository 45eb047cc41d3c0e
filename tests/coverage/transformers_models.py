"""Small models of many transformers architectures, saved into folders as a user has them: weights are random."""
# ruff: noqa: E501 - a table, a row a line

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# Two layers, four heads, 32 wide, a hundred words: large enough to mix what they are given, small enough for seconds.
SMALL: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "vocab_size": 100,
}
TEXT: dict[str, Any] = {**SMALL, "max_position_embeddings": 64}
# A decoder's own special tokens must lie within its words.
DECODER: dict[str, Any] = {**TEXT, "num_key_value_heads": 2, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
T5: dict[str, Any] = {
    **{"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_decoder_layers": 2, "num_heads": 4},
    **{"vocab_size": 100, "decoder_start_token_id": 0},
}
BART: dict[str, Any] = {
    **{"d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4},
    **{"decoder_attention_heads": 4, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "vocab_size": 100},
    **{"max_position_embeddings": 64, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2},
    **{"decoder_start_token_id": 2, "forced_eos_token_id": None},
}
VISION: dict[str, Any] = {
    **{"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64},
    **{"image_size": 32, "patch_size": 8},
}
WAVES: dict[str, Any] = {
    **SMALL,
    **{"conv_dim": (16, 16, 16), "conv_kernel": (10, 3, 2), "conv_stride": (5, 2, 2), "num_feat_extract_layers": 3},
    **{"num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4, "pad_token_id": 0},
}
WHISPER: dict[str, Any] = {
    **{**BART, "max_position_embeddings": None, "num_mel_bins": 16, "max_source_positions": 20},
    **{"max_target_positions": 32, "pad_token_id": 0, "bos_token_id": 1, "suppress_tokens": None},
    **{"begin_suppress_tokens": None},
}
DETR: dict[str, Any] = {
    **{"d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4},
    **{"decoder_attention_heads": 4, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "num_queries": 7, "num_labels": 5},
}


@dataclass(frozen=True)
class Small:
    """An architecture: its configuration's class and arguments, and the task that it is generated for.

    ``parts`` are the arguments of configurations within the configuration, by the argument that takes each. Where
    there is a ``length``, it is that of all texts.
    """

    config: str
    arguments: Mapping[str, Any]
    task: str
    parts: Mapping[str, tuple[str, Mapping[str, Any]]] = field(default_factory=dict)
    length: int = 0


# fmt: off
MODELS: dict[str, Small] = {
    "albert": Small("AlbertConfig", {**TEXT, "embedding_size": 16}, "text-classification"),
    "bert": Small("BertConfig", TEXT, "feature-extraction"),
    "bert-choice": Small("BertConfig", TEXT, "multiple-choice"),
    "bert-next-sentence": Small("BertConfig", TEXT, "next-sentence-prediction"),
    "big-bird": Small("BigBirdConfig", {**TEXT, "attention_type": "original_full", "bos_token_id": 1, "eos_token_id": 2, "sep_token_id": 3}, "fill-mask"),
    "camembert": Small("CamembertConfig", {**TEXT, "pad_token_id": 1}, "token-classification"),
    "convbert": Small("ConvBertConfig", {**TEXT, "embedding_size": 32}, "feature-extraction"),
    "deberta": Small("DebertaConfig", {**TEXT, "relative_attention": True, "pos_att_type": ["c2p", "p2c"], "max_relative_positions": 16, "type_vocab_size": 0}, "question-answering"),
    "deberta-v2": Small("DebertaV2Config", {**TEXT, "relative_attention": True, "pos_att_type": ["c2p", "p2c"], "position_buckets": 8, "type_vocab_size": 0}, "text-classification"),
    "distilbert": Small("DistilBertConfig", {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64, "vocab_size": 100, "max_position_embeddings": 64}, "text-classification"),
    "electra": Small("ElectraConfig", {**TEXT, "embedding_size": 16}, "token-classification"),
    "longformer": Small("LongformerConfig", {**TEXT, "attention_window": [4, 4], "pad_token_id": 1}, "feature-extraction", length=16),
    "modernbert": Small("ModernBertConfig", {**TEXT, "num_hidden_layers": 3, "bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2, "pad_token_id": 0, "local_attention": 8}, "fill-mask"),
    "mpnet": Small("MPNetConfig", {**TEXT, "pad_token_id": 1}, "feature-extraction"),
    "roberta": Small("RobertaConfig", {**TEXT, "pad_token_id": 1}, "text-classification"),
    "xlm-roberta": Small("XLMRobertaConfig", {**TEXT, "pad_token_id": 1}, "feature-extraction"),
    "xlnet": Small("XLNetConfig", {"d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 64, "vocab_size": 100}, "text-classification"),
    "bart": Small("BartConfig", BART, "text2text-generation"),
    "bart-encoder": Small("BartConfig", BART, "text-encoding"),
    "mbart": Small("MBartConfig", BART, "text2text-generation"),
    "led": Small("LEDConfig", {**BART, "attention_window": 4, "max_encoder_position_embeddings": 64, "max_decoder_position_embeddings": 64}, "text2text-generation", length=16),
    "marian": Small("MarianConfig", BART, "text2text-generation"),
    "mt5": Small("MT5Config", T5, "text-encoding"),
    "pegasus": Small("PegasusConfig", BART, "text2text-generation"),
    "t5": Small("T5Config", T5, "text2text-generation"),
    "t5-encoder": Small("T5Config", T5, "text-encoding"),
    "bloom": Small("BloomConfig", {"hidden_size": 32, "n_layer": 2, "n_head": 4, "vocab_size": 100, "bos_token_id": 1, "eos_token_id": 2}, "text-generation"),
    "falcon": Small("FalconConfig", {**SMALL, "bos_token_id": 1, "eos_token_id": 2}, "text-generation"),
    "gemma": Small("GemmaConfig", {**DECODER, "head_dim": 8}, "text-generation"),
    "gemma2": Small("Gemma2Config", {**DECODER, "head_dim": 8, "sliding_window": 8, "query_pre_attn_scalar": 8}, "text-generation"),
    "gpt-neox": Small("GPTNeoXConfig", {**TEXT, "bos_token_id": 1, "eos_token_id": 2}, "text-generation"),
    "gpt2": Small("GPT2Config", {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "vocab_size": 100, "bos_token_id": 1, "eos_token_id": 2}, "text-generation"),
    "llama": Small("LlamaConfig", DECODER, "text-generation"),
    "mistral": Small("MistralConfig", {**DECODER, "sliding_window": 8}, "text-generation"),
    "mixtral": Small("MixtralConfig", {**DECODER, "num_local_experts": 4}, "text-generation"),
    "opt": Small("OPTConfig", {**TEXT, "ffn_dim": 64, "word_embed_proj_dim": 32, "pad_token_id": 1, "bos_token_id": 2, "eos_token_id": 2}, "text-generation"),
    "phi": Small("PhiConfig", {**DECODER, "num_key_value_heads": 4}, "text-generation"),
    "phi3": Small("Phi3Config", DECODER, "text-generation"),
    "qwen2": Small("Qwen2Config", DECODER, "text-generation"),
    "qwen3": Small("Qwen3Config", {**DECODER, "head_dim": 8}, "text-generation"),
    "qwen3-embedding": Small("Qwen3Config", {**DECODER, "head_dim": 8}, "feature-extraction"),
    "beit": Small("BeitConfig", {**VISION, "vocab_size": 100}, "image-classification"),
    "convnext": Small("ConvNextConfig", {"hidden_sizes": [8, 16, 32, 64], "depths": [1, 1, 1, 1], "image_size": 64}, "image-classification"),
    "deit": Small("DeiTConfig", VISION, "image-classification"),
    "depth-anything": Small("DepthAnythingConfig", {"reassemble_hidden_size": 32, "neck_hidden_sizes": [8, 8, 16, 16], "fusion_hidden_size": 8, "patch_size": 8}, "depth-estimation",
                            {"backbone_config": ("Dinov2Config", {**VISION, "num_hidden_layers": 4, "out_indices": [1, 2, 3, 4], "reshape_hidden_states": False, "apply_layernorm": True})}),
    "detr": Small("DetrConfig", {**DETR, "use_timm_backbone": False, "use_pretrained_backbone": False}, "object-detection",
                  {"backbone_config": ("ResNetConfig", {"embedding_size": 8, "hidden_sizes": [8, 16, 32, 64], "depths": [1, 1, 1, 1], "out_features": ["stage4"]})}),
    "dinov2": Small("Dinov2Config", VISION, "image-feature-extraction"),
    "mobilenet-v2": Small("MobileNetV2Config", {"image_size": 64, "depth_multiplier": 0.35}, "image-classification"),
    "mobilevit": Small("MobileViTConfig", {"image_size": 64, "hidden_sizes": [32, 40, 48], "neck_hidden_sizes": [8, 16, 24, 32, 40, 48, 64]}, "image-classification"),
    "regnet": Small("RegNetConfig", {"embedding_size": 8, "hidden_sizes": [8, 16, 32, 64], "depths": [1, 1, 1, 1], "groups_width": 8}, "image-classification"),
    "resnet": Small("ResNetConfig", {"embedding_size": 8, "hidden_sizes": [8, 16, 32, 64], "depths": [1, 1, 1, 1]}, "image-classification"),
    "segformer": Small("SegformerConfig", {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1], "num_attention_heads": [1, 2, 2, 4], "decoder_hidden_size": 32, "num_labels": 5}, "image-segmentation"),
    "swin": Small("SwinConfig", {"image_size": 32, "patch_size": 2, "embed_dim": 16, "depths": [2, 2], "num_heads": [2, 4], "window_size": 4}, "image-classification"),
    "swinv2": Small("Swinv2Config", {"image_size": 32, "patch_size": 2, "embed_dim": 16, "depths": [2, 2], "num_heads": [2, 4], "window_size": 4}, "image-classification"),
    "videomae": Small("VideoMAEConfig", {**VISION, "num_frames": 4}, "video-classification"),
    "vit": Small("ViTConfig", VISION, "image-classification"),
    "yolos": Small("YolosConfig", {**VISION, "image_size": [32, 48], "num_detection_tokens": 7, "num_labels": 5}, "object-detection"),
    "clip": Small("CLIPConfig", {"projection_dim": 16}, "zero-shot-image-classification",
                  {"text_config": ("CLIPTextConfig", {**TEXT, "bos_token_id": 1, "eos_token_id": 2, "projection_dim": 16}), "vision_config": ("CLIPVisionConfig", {**VISION, "projection_dim": 16})}),
    "siglip": Small("SiglipConfig", {}, "zero-shot-image-classification",
                    {"text_config": ("SiglipTextConfig", {**TEXT, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 1, "projection_size": 32}), "vision_config": ("SiglipVisionConfig", VISION)}),
    "audio-spectrogram-transformer": Small("ASTConfig", {**VISION, "max_length": 64, "num_mel_bins": 32, "num_labels": 5}, "audio-classification"),
    "hubert": Small("HubertConfig", {**WAVES, "num_labels": 5, "classifier_proj_size": 16}, "audio-classification"),
    "wav2vec2": Small("Wav2Vec2Config", WAVES, "automatic-speech-recognition"),
    "wav2vec2-features": Small("Wav2Vec2Config", WAVES, "feature-extraction"),
    "wavlm": Small("WavLMConfig", {**WAVES, "num_labels": 5, "classifier_proj_size": 16}, "audio-classification"),
    "whisper": Small("WhisperConfig", WHISPER, "automatic-speech-recognition"),
    "whisper-classifier": Small("WhisperConfig", {**WHISPER, "num_labels": 5, "classifier_proj_size": 16}, "audio-classification"),
}
# fmt: on

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"word{number}" for number in range(95)))


def configuration(name: str) -> Any:
    """Return the configuration of one of ``MODELS``."""
    import transformers

    small = MODELS[name]
    parts = {key: getattr(transformers, part)(**arguments) for key, (part, arguments) in small.parts.items()}
    # Without architectures, transformers finds no model where it has several for a task.
    return getattr(transformers, small.config)(**small.arguments, **parts, architectures=[])


def save(name: str, folder: Path, seed: int = 0) -> Path:
    """Build one of ``MODELS`` for its task with seeded random weights, and save it as transformers does.

    The weights are larger than those that training begins with: what a model then answers depends on all that it is
    asked.
    """
    import torch

    from modelrepo.generator.sources.hf import tasks

    torch.manual_seed(seed)
    task = tasks.ALIASES.get(MODELS[name].task, MODELS[name].task)
    model = tasks.TASKS[task].builder(configuration(name)).from_config(configuration(name))
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.kaiming_normal_(parameter, nonlinearity="linear")
    model.eval().save_pretrained(folder)
    return folder


def save_tokenizer(folder: Path, words: tuple[str, ...] = WORDS) -> None:
    """Save a tokenizer that knows a few words, in the files that transformers reads one from."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    described = {"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "[UNK]", "pad_token": "[PAD]"}
    (folder / "tokenizer_config.json").write_text(json.dumps(described))
