// Rows of collect, quantize, trace and export.
#include "tests/flag_row_parts.h"

namespace scute::flag_parts {

Rows collect_language() {
  return {{"--data MADE/passages.jsonl", ""},
          {"--samples 2", ""},
          {"--seqlen 70", ""},
          {"--shuffle none", ""},
          {"--skip 1", ""},
          {"--take 2", ""},
          {"--windows-per-document 2", "--seqlen 40"},
          {"--sites *in_proj:input", ""},
          {"--fine 5", ""},
          {"--per-channel", ""},
          {"--memory 2G", ""},
          {"--memory 2", "", refuse},
          {"--state-every 16", ""},
          {"--save-activations 20", ""},
          {"--shard 0/2", "", refuse},
          {"--shard 0/2", "=LANGUAGE --data IDS --samples 3 --seqlen 80 --out OUT/parts", repair},
          {"--save-activations 20", "=LANGUAGE --data IDS --shard 0/2 --out OUT/parts", refuse},
          {"--observer ema", "=LANGUAGE --data IDS --shard 0/2 --out OUT/parts", refuse},
          {"--checkpoint-every 1", "", hide, "it keeps what a run that dies had finished"},
          {"--observer ema", ""},
          {"--sigma 0.3", "--observer ema"},
          {"--compute bf16", ""},
          {"--tokenizer MADE/other.json",
           "=WORDS --data MADE/short.jsonl --samples 2 --seqlen 8 --out OUT/s.safetensors"},
          {"--sigma 0.3", "", refuse},
          {"--json", "=LANGUAGE --data IDS --samples 1 --seqlen 8 --out OUT/s.safetensors"}};
}

Rows collect_cobra() {
  return {{"--images MADE/pictures", ""},
          {"--batches 1", "--batch-size 2"},
          {"--batch-size 1", "--batches 1"},
          {"--targets projector", ""},
          {"--shard 0/2", "", refuse},
          {"--shard 0/2", "=COBRA --images PICTURES --out OUT/parts", repair},
          {"--export-best-json OUT/b.json", "=COBRA --images PICTURES --shard 0/2 --out OUT/parts",
           refuse},
          {"--checkpoint-every 1", "", hide, "it keeps what a run that dies had finished"},
          {"--sites layer_0.*", ""},
          {"--prompts MADE/one.jsonl", ""},
          {"--no-random-text", "--targets projector"},
          {"--text-len 3", ""},
          {"--seed 7", ""},
          {"--max-samples-per-batch 50", ""},
          {"--out OUT/t.safetensors", ""},
          {"--export-best-json OUT/best.json", ""},
          {"--percentile-override 99", "--export-best-json OUT/best.json"},
          {"--config MADE/config.json", "--batch-size 2"},
          {"--fine 5", ""},
          {"--per-channel", ""},
          {"--memory 2G", ""},
          {"--state-every 4", "--sites layer_0.*"},
          {"--compute bf16", ""},
          {"--tokenizer MADE/other-cobra.json", "--prompts MADE/one.jsonl"},
          {"--no-random-text", "--prompts MADE/one.jsonl", refuse},
          {"--text-len 3", "--no-random-text", refuse},
          {"--state-every 4", "", refuse},
          {"--percentile-override 99", "", refuse},
          {"--tokenizer MADE/other-cobra.json", "", refuse},
          {"--seed 7", "--no-random-text", refuse},
          {"--json", "=COBRA --images PICTURES --batches 1 --out OUT/s.safetensors"}};
}

Rows collect_regressor() {
  return {{"--feat-root FEATURES", "=REGRESSOR --out OUT/s.safetensors", repair},
          {"--no-normalize", ""},
          {"--calib-target eval", ""},
          {"--quant-calib-batches 1", "--batch-size 8"},
          {"--batch-size 8", "--quant-calib-batches 1"},
          {"--skip 1", "", defer,
           "these windows are one piece; tests/regressor/cli_steps_test.cc skips"},
          {"--take 1", ""},
          {"--sites head:input", ""},
          {"--shard 0/2", "", refuse},
          {"--shard 0/2", "=REGRESSOR --feat-root FEATURES --out OUT/parts", repair},
          {"--checkpoint-every 1", "", hide, "it keeps what a run that dies had finished"},
          {"--fine 5", ""},
          {"--per-channel", ""},
          {"--memory 2G", ""},
          {"--json", "=REGRESSOR --feat-root FEATURES --out OUT/s.safetensors"}};
}

/// How weights and activations of a language model are rounded: what quantize, run and sweep share.
Rows rounding(const char* four_bits, const char* stateful, const char* fold) {
  return {{"--hadamard off", ""},           {"--fold on", fold},
          {"--group-size 8", four_bits},    {"--per-tensor", ""},
          {"--quantize-embedding", ""},     {"--quantize-lm-head", ""},
          {"--shared-scales", ""},          {"--conv-scale tensor", ""},
          {"--state-scale none", stateful}, {"--state-rounding nearest", stateful},
          {"--state-clip 0.5", stateful}};
}

Rows kinds_of_parts(const char* hybrid) {
  return {{"--mixers W8A16", hybrid},
          {"--attention FP", hybrid},
          {"--feed-forwards W8A16", hybrid},
          {"--experts FP", hybrid},
          {"--cache int8", hybrid}};
}

Rows quantize_language() {
  const char* kFour = "--w-bits 4";
  Rows out = rounding(kFour, "", "--hadamard off --w-bits 4 --a-bits 16");
  const char* kGptq = "--gptq --data IDS --seqlen 32";
  append(out, kinds_of_parts("=HYBRID --w-bits 4 --a-bits 16 --out OUT/q"));
  append(out,
         {{"--w-bits 4", ""},
          {"--a-bits 16", kFour},
          {"--shard 0/2", "", refuse},
          {"--shard 0/2", "=LANGUAGE --gptq --data IDS --seqlen 32 --out OUT/q", repair},
          {"--stats MADE/stats.safetensors",
           "=LANGUAGE --gptq --data IDS --seqlen 32 --shard 0/2 --out OUT/parts", refuse},
          {"--checkpoint-every 1", "", refuse},
          {"--checkpoint-every 1", kGptq, hide, "it keeps what a run that dies had measured"},
          {"--gptq",
           "=LANGUAGE --stats MADE/stats.safetensors --data IDS --seqlen 32 "
           "--save-hessians OUT/h.safetensors --out OUT/q"},
          {"--group-heads", "=MAMBA2 --stats MADE/stats2.safetensors --out OUT/q"},
          {"--seed 7", ""},
          {"--data MADE/passages.jsonl",
           "=LANGUAGE --stats MADE/stats.safetensors --gptq --data IDS "
           "--out OUT/q"},
          {"--samples 2", kGptq},
          {"--seqlen 40", kGptq},
          {"--hessians MADE/hessians.safetensors",
           "=LANGUAGE --stats MADE/stats.safetensors --gptq --out OUT/q", repair},
          {"--save-hessians OUT/h.safetensors", kGptq},
          {"--plan MADE/plan.json", ""},
          {"--stats MADE/stats.safetensors", "=LANGUAGE --out OUT/q", repair},
          {"--policy percentile:0.9", ""},
          {"--percentile-alpha 0.9", "--policy percentile"},
          {"--percentile-alpha 0.9", ""},
          {"--policy minmax",
           "=LANGUAGE --w-bits 4 --a-bits 16 --stats MADE/stats.safetensors --out "
           "OUT/q",
           refuse},
          {"--percentile-alpha 0.9", "--policy minmax", refuse},
          {"--percentile-alpha 0.9", "--plan MADE/plan.json", refuse},
          {"--state-clip 0.5", "--state-scale none", refuse},
          {"--hybrid-blocks MADE/hybrid.json", ""},
          {"--search 7",
           "=LANGUAGE --stats MADE/stats.safetensors --data IDS --gptq --seqlen 32 "
           "--out OUT/q"},
          {"--search-samples 1", "--search 7 --data IDS --seqlen 32"},
          {"--force", "", hide, kReplaced},
          {"--memory 2G", ""},
          {"--tokenizer MADE/other.json",
           "=WORDS --w-bits 4 --a-bits 16 --gptq --data MADE/short.jsonl --samples 2 --seqlen 8 "
           "--out OUT/q"},
          {"--samples 2", "", refuse},
          {"--seqlen 40", "", refuse},
          {"--search-samples 2", "", refuse},
          {"--seed 7", "--state-rounding nearest", refuse},
          {"--policy minmax", "=LANGUAGE --out OUT/q", refuse},
          {"--state-scale none", "--w-bits 4 --a-bits 16", refuse},
          {"--group-percentile 0.5", "", refuse},
          {"--group-percentile 0.5",
           "=MAMBA2 --stats MADE/stats2.safetensors --group-heads --out OUT/q"},
          {"--json", "=LANGUAGE --w-bits 4 --a-bits 16 --out OUT/q"}});
  return out;
}

Rows quantize_cobra() {
  return {{"--plan MADE/cobra-plan.json", ""},
          {"--stats MADE/cobra-all.safetensors", "=COBRA --out OUT/q", repair},
          {"--policy minmax", ""},
          {"--percentile-alpha 0.9", "--policy percentile"},
          {"--percentile-alpha 0.9", ""},
          {"--percentile-alpha 0.9", "--policy tail", refuse},
          {"--policy minmax", "--w-bits 4 --a-bits 16", refuse},
          {"--w-bits 4", ""},
          {"--a-bits 16", "--w-bits 4"},
          {"--bucket-format projector=W4A8", ""},
          {"--include projector.*", ""},
          {"--exclude projector.*", ""},
          {"--group-size 8", "--w-bits 4"},
          {"--hadamard off", ""},
          {"--force", "", hide, kReplaced},
          {"--memory 2G", ""},
          {"--group-size 8", "", refuse},
          {"--hadamard off", "--bucket-format llm=FP", refuse},
          {"--policy minmax", "=COBRA --plan MADE/cobra-plan.json --out OUT/q", refuse},
          {"--json", "=COBRA --w-bits 4 --a-bits 16 --out OUT/q"}};
}

/// Which layers of a regressor are rounded, and how.
Rows layers(const char* beside) {
  return {{"--q-proj", beside},
          {"--q-head", beside},
          {"--q-block-linear", beside},
          {"--q-backbone-linear", beside},
          {"--quant-backend lsq", beside}};
}

Rows quantize_regressor() {
  Rows out = layers("");
  append(out, {{"--plan MADE/windows.json", "=REGRESSOR --out OUT/q.pt", repair},
               {"--stats MADE/windows.safetensors", ""},
               {"--stats MADE/windows.safetensors",
                "=REGRESSOR --quant-mode fixed88 --out OUT/q.pt", refuse},
               {"--quantize-all", "=MADE/proj.pt --plan MADE/windows.json --out OUT/q.pt"},
               {"--q-proj", "--quantize-all", refuse},
               {"--quant-mode per-layer", ""},
               {"--quant-mode fixed", "=REGRESSOR --out OUT/q.pt", refuse},
               {"--force", "", hide, kReplaced},
               {"--json", ""}});
  return out;
}

Rows trace_rows(const char* json) {
  return {{"--layer 0", ""}, {"--csv", ""}, {"--all", "", hide, kTerminal}, {"--json", json}};
}

Rows scales_rows(std::string_view target, std::string_view edited, std::string_view out) {
  constexpr std::string_view kSet = "--set *proj*:input*=3";
  return {{kSet, target, repair},     {kSet, "--undo", refuse},
          {"--undo", edited, repair}, {out, ""},
          {"--dry-run", ""},          {"--json", ""}};
}

Rows plain_export() {
  return {{"--dequantized", "=LOW --out OUT/q", repair},
          {"--dtype bf16", ""},
          {"--force", "", hide, kReplaced},
          {"--json", ""}};
}

Rows export_language() {
  Rows out = plain_export();
  append(out, {{"--gguf q8_0", "=LOW --out OUT/a.gguf", repair},
               {"--random mamba-tiny", "=--gguf f32 --out OUT/a.gguf", repair},
               {"--dtype bf16", "=LANGUAGE --gguf f32 --out OUT/a.gguf", refuse},
               {"--random mamba-tiny", "=LOW --dequantized --out OUT/q", refuse}});
  return out;
}

Rows export_regressor() {
  const char* kMeasured = "=REGRESSOR --per-layer --feat-root FEATURES --out OUT/q";
  return {{"--q8.8", "=REGRESSOR --out OUT/q", repair},
          {"--per-layer", "=REGRESSOR --feat-root FEATURES --out OUT/q", repair},
          {"--force", "", hide, kReplaced},
          {"--feat-root FEATURES", ""},
          {"--no-normalize", "--feat-root FEATURES"},
          {"--quant-bits 8", kMeasured},
          {"--calib-method p99", kMeasured},
          {"--calib-headroom 3", kMeasured},
          {"--calib-target eval", "=REGRESSOR --per-layer --feat-root MADE/features --out OUT/q"},
          {"--quant-calib-batches 1",
           "=REGRESSOR --per-layer --feat-root MADE/features --batch-size 1 --out OUT/q"},
          {"--batch-size 1",
           "=REGRESSOR --per-layer --feat-root MADE/features --quant-calib-batches 1 --out OUT/q"},
          {"--calib-method p99", "", refuse},
          {"--vectors 2", ""},
          {"--target train", "--feat-root FEATURES"},
          {"--target train", "", refuse},
          {"--calib-method p99", "=REGRESSOR --per-layer --out OUT/q", refuse},
          {"--json", ""}};
}

}  // namespace scute::flag_parts
