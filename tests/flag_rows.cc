#include "tests/flag_rows.h"

namespace scute {
namespace {

using enum FlagRow::Does;
using Rows = std::vector<FlagRow>;

constexpr auto kLanguage = ModelKind::language, kCobra = ModelKind::cobra,
               kRegressor = ModelKind::regressor;
constexpr const char* kReplaced = "what it permits is tested where folders are replaced";
constexpr const char* kTimes = "the figures are times, which no two runs share";
constexpr const char* kBackends = "both give the same figures where sums are exact";
constexpr const char* kTerminal = "only a terminal gets fewer rows without it";
constexpr const char* kCounts =
    "it adds :steps sites to statistics that are kept; the ranges of these short texts are the "
    "same";

#define EXPERIMENT "--data IDS --samples 3 --seqlen 80 --log OUT/log.jsonl "
#define SCORED EXPERIMENT "--tasks perplexity --eval-data perplexity=IDS --window 32 "
#define SEEN "--images PICTURES --log OUT/log.jsonl "

/// Whole command lines of run and sweep that differ in how the model is named.
struct ExperimentLines {
  const char *unrounded, *without_task, *without_texts, *words, *gptq, *texts, *grouped;
};
#define LINES(MODEL, GROUPED, TEXTS)                                                    \
  {                                                                                     \
    "=" MODEL                                                                           \
    "--log OUT/log.jsonl --w-bits 4 --a-bits 16 --hadamard off --tasks perplexity "     \
    "--eval-data perplexity=IDS --window 32",                                           \
        "=" MODEL EXPERIMENT "--eval-data perplexity=IDS --window 32",                  \
        "=" MODEL EXPERIMENT "--tasks perplexity --window 32",                          \
        "=" MODEL EXPERIMENT "--tasks last-word --eval-data MADE/passages.jsonl",       \
        "=" MODEL                                                                       \
        "--log OUT/log.jsonl --w-bits 4 --a-bits 16 --tasks perplexity --eval-data "    \
        "perplexity=IDS --window 32 --data IDS --samples 3",                            \
        "=" TEXTS "--data MADE/short.jsonl --samples 2 --seqlen 8 --log OUT/log.jsonl", \
        "=" GROUPED EXPERIMENT                                                          \
  }
constexpr ExperimentLines kRun = LINES("LANGUAGE ", "MAMBA2 ", "WORDS "),
                          kSweep =
                              LINES("--models LANGUAGE ", "--models MAMBA2 ", "--models WORDS ");

void append(Rows& rows, const Rows& more) { rows.insert(rows.end(), more.begin(), more.end()); }

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
          {"--state-every 16", ""},
          {"--save-activations 20", ""},
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
          {"--fine 5", ""},
          {"--per-channel", ""},
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

Rows quantize_language() {
  const char* kFour = "--w-bits 4";
  Rows out = rounding(kFour, "", "--hadamard off --w-bits 4 --a-bits 16");
  const char* kGptq = "--gptq --data IDS --seqlen 32";
  append(out,
         {{"--w-bits 4", ""},
          {"--a-bits 16", kFour},
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

Rows scales_rows() { return {{"--dry-run", ""}, {"--json", ""}}; }

Rows plain_export() {
  return {{"--dequantized", "=LOW --out OUT/q", repair},
          {"--dtype bf16", ""},
          {"--force", "", hide, kReplaced},
          {"--json", ""}};
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

Rows eval_language() {
  return {{"--perplexity IDS --window 32", "=LANGUAGE --last-word MADE/passages.jsonl"},
          {"--last-word MADE/passages.jsonl", ""},
          {"--window 16", ""},
          {"--stride 8", ""},
          {"--max-windows 1", ""},
          {"--max-items 2", "--last-word MADE/passages.jsonl"},
          {"--context 3", ""},
          {"--stepwise", ""},
          {"--against LOW", ""},
          {"--items-out OUT/items.jsonl", ""},
          {"--log OUT/log.jsonl", ""},
          {"--compute bf16", ""},
          {"--backend simulate", "", refuse},
          {"--backend simulate", "=LOW --perplexity IDS --window 32 --json"},
          {"--tokenizer MADE/other.json", "=WORDS --perplexity MADE/prompt.txt --window 8 --json"},
          {"--window 16", "=LANGUAGE --last-word MADE/passages.jsonl", refuse},
          {"--max-items 2", "", refuse},
          {"--log-failure ignore", "", refuse},
          {"--json", "=LANGUAGE --perplexity IDS --window 32"}};
}

Rows eval_cobra() {
  return {{"--images MADE/pictures", ""},
          {"--against COBRA", ""},
          {"--max-pictures 1", ""},
          {"--prompts MADE/one.jsonl", ""},
          {"--no-random-text", ""},
          {"--text-len 3", ""},
          {"--seed 7", ""},
          {"--seed 7", "--no-random-text", refuse},
          {"--items-out OUT/items.jsonl", ""},
          {"--log OUT/log.jsonl", ""},
          {"--compute bf16", ""},
          {"--backend simulate", ""},
          {"--backend simulate", "=COBRA --images PICTURES --against COBRA", refuse},
          {"--tokenizer MADE/other-cobra.json", "--prompts MADE/one.jsonl"},
          {"--log-failure ignore", "", refuse},
          {"--json", "=LOWCOBRA --images PICTURES --against COBRA"}};
}

Rows eval_regressor() {
  const char* kEight = "--quant-bits 8";
  Rows out = layers(kEight);
  append(out, {{"--feat-root FEATURES", "=REGRESSOR", repair},
               {"--no-normalize", ""},
               {"--target train", ""},
               {"--quantize-all", ""},
               {"--quant-mode per-layer", ""},
               {"--quant-mode fixed", "", refuse},
               {"--quant-bits 8", ""},
               {"--quant-bits 8", "--quant-mode fixed88", refuse},
               {"--calib-method p99", kEight},
               {"--calib-method p99", "--quant-mode fixed88", refuse},
               {"--calib-headroom 3", kEight},
               {"--calib-target eval", kEight},
               {"--quant-calib-batches 1", "--quant-bits 8 --batch-size 1"},
               {"--batch-size 1", "--quant-bits 8 --quant-calib-batches 1"},
               {"--save-calib-ckpt OUT/q.pt", kEight},
               {"--save-calib-ckpt OUT/q.pt", "", refuse},
               {"--sensitivity", ""},
               {"--out-dir OUT/d", ""},
               {"--break-thresh 0.01", "--out-dir OUT/d"},
               {"--log OUT/log.jsonl", ""},
               {"--break-thresh 0.01", "", refuse},
               {"--batch-size 1", "", refuse},
               {"--log-failure ignore", "", refuse},
               {"--json", "=REGRESSOR --feat-root FEATURES"}});
  return out;
}

/// Which windows of text an experiment measures.
Rows experiment_windows() {
  return {{"--samples 2", ""}, {"--seqlen 70", ""},   {"--shuffle none", ""},
          {"--skip 1", ""},    {"--take 2", ""},      {"--windows-per-document 2", "--seqlen 40"},
          {"--fine 4", ""},    {"--compute bf16", ""}};
}

/// What an experiment of a language model is scored on and keeps.
Rows experiment_rest(const ExperimentLines& lines) {
  return {{"--data MADE/passages.jsonl", ""},
          {"--tasks perplexity", lines.without_task, repair},
          {"--eval-data perplexity=IDS", lines.without_texts, repair},
          {"--window 16", ""},
          {"--stride 8", ""},
          {"--max-windows 1", ""},
          {"--context 3", ""},
          {"--stepwise", ""},
          {"--max-items 2", lines.words},
          {"--max-items 2", "", refuse},
          {"--window 16", lines.words, refuse},
          {"--gptq-samples 1", "--w-bits 4 --gptq"},
          {"--gptq-samples 1", "", refuse},
          {"--gptq", "--w-bits 4"},
          {"--seed 7", "--stepwise"},
          {"--log OUT/other.jsonl", ""},
          {"--log-sites *in_proj:input", ""},
          {"--log-layers 0", ""},
          {"--save-activations 20", ""},
          {"--output-subdir kept --pretrained-dir OUT", ""},
          {"--pretrained-dir OUT", "", refuse},
          {"--force", "", refuse},
          {"--backend simulate", "", hide, kBackends},
          {"--state-every 16", "", hide, kCounts}};
}

Rows run_language() {
  Rows out = rounding("--w-bits 4", "--stepwise", kRun.unrounded);
  append(out, experiment_windows());
  append(out, experiment_rest(kRun));
  append(out,
         {{"--group-heads", kRun.grouped},
          {"--policy percentile:0.8", ""},
          {"--policy minmax", kRun.unrounded, refuse},
          {"--data IDS", kRun.unrounded, refuse},
          {"--percentile-alpha 0.9", ""},
          {"--percentile-alpha 0.9", "--policy quamba"},
          {"--percentile-alpha 0.9", "--policy mse", refuse},
          {"--w-bits 4", ""},
          {"--a-bits 16", "--w-bits 4 --save-activations 9"},
          {"--tokenizer MADE/other.json", kRun.texts},
          {"--gptq", "=LANGUAGE --log OUT/log.jsonl --w-bits 16 --a-bits 16", refuse},
          {"--backend simulate", "=LANGUAGE --log OUT/log.jsonl --w-bits 16 --a-bits 16", refuse},
          {"--eval-data IDS", "=LANGUAGE --data IDS --log OUT/log.jsonl", refuse},
          {"--log-sites *", kRun.unrounded, refuse},
          {"--seed 7", kRun.unrounded, refuse},
          {"--log-failure ignore", "", hide, "a record that is kept is no failure"},
          {"--group-percentile 0.5", "", refuse},
          {"--json", "=LANGUAGE " EXPERIMENT}});
  return out;
}

Rows sweep_language() {
  Rows out = rounding("--w-bits 4", "--stepwise", kSweep.unrounded);
  append(out, experiment_windows());
  append(out, experiment_rest(kSweep));
  append(out, {{"--group-heads", kSweep.grouped},
               {"--policies percentile:0.8", ""},
               {"--policies minmax", kSweep.unrounded, refuse},
               {"--percentile-alphas 0.9", ""},
               {"--percentile-alphas 0.9", "--policies quamba"},
               {"--percentile-alphas 0.9", "--policies mse", refuse},
               {"--with-float", ""},
               {"--w-bits 4", ""},
               {"--a-bits 16", "--w-bits 4 --save-activations 9"},
               {"--tokenizer MADE/other.json", kSweep.texts},
               {"--gptq", "=--models LANGUAGE --log OUT/log.jsonl --w-bits 16 --a-bits 16", refuse},
               {"--backend simulate",
                "=--models LANGUAGE --log OUT/log.jsonl --w-bits 16 --a-bits 16", refuse},
               {"--eval-data IDS", "=--models LANGUAGE --data IDS --log OUT/log.jsonl", refuse},
               {"--log-sites *", kSweep.unrounded, refuse},
               {"--seed 7", kSweep.unrounded, refuse},
               {"--log-failure ignore", "", hide, "a record that is kept is no failure"},
               {"--group-percentile 0.5", "", refuse},
               {"--json", "=--models LANGUAGE " EXPERIMENT}});
  return out;
}

Rows experiment_cobra(const char* one_batch) {
  return {{"--images MADE/pictures", ""},
          {"--prompts MADE/one.jsonl", ""},
          {"--no-random-text", ""},
          {"--text-len 3", ""},
          {"--seed 7", ""},
          {"--batches 1", one_batch},
          {"--batch-size 1", "--batches 1"},
          {"--max-pictures 1", ""},
          {"--sites layer_*", ""},
          {"--fine 5", ""},
          {"--state-every 4", "", hide, kCounts},
          {"--w-bits 4", ""},
          {"--a-bits 16", "--w-bits 4"},
          {"--group-size 8", "--w-bits 4"},
          {"--hadamard off", "--sites layer_*"},
          {"--hadamard off", "", refuse},
          {"--log OUT/other.jsonl", ""},
          {"--log-sites projector", ""},
          {"--log-layers 0", "--sites layer_* --log-sites *"},
          {"--compute bf16", ""},
          {"--backend simulate", "", hide, kBackends},
          {"--tokenizer MADE/other-cobra.json", "--prompts MADE/one.jsonl"}};
}

Rows run_cobra() {
  Rows out = experiment_cobra("=COBRA " SEEN "--batch-size 2");
  append(out, {{"--policy minmax", ""},
               {"--policy minmax", "--w-bits 4 --a-bits 16", refuse},
               {"--percentile-alpha 0.9", ""},
               {"--percentile-alpha 0.9", "--policy tail", refuse},
               {"--fine 5", "--w-bits 4 --a-bits 16", refuse},
               {"--log-failure ignore", "", hide, "a record that is kept is no failure"},
               {"--json", "=COBRA " SEEN}});
  return out;
}

Rows sweep_cobra() {
  Rows out = experiment_cobra("=--models COBRA " SEEN "--batch-size 2");
  append(out, {{"--policies minmax", ""},
               {"--policies minmax", "--w-bits 4 --a-bits 16", refuse},
               {"--percentile-alphas 0.9", ""},
               {"--percentile-alphas 0.9", "--policies tail", refuse},
               {"--log-failure ignore", "", hide, "a record that is kept is no failure"},
               {"--json", "=--models COBRA " SEEN}});
  return out;
}

Rows dump_language() {
  return {{"--ids MADE/ids.npy", "=LANGUAGE --out OUT/d.safetensors", repair},
          {"--text MADE/prompt.txt", "=WORDS --out OUT/d.safetensors", repair},
          {"--sites *in_proj:input", ""},
          {"--stepwise", "--sites *in_proj:input", hide, "the same values, token by token"},
          {"--compute bf16", ""},
          {"--backend simulate", "", refuse},
          {"--backend simulate", "=LOW --ids MADE/ids.npy --sites * --out OUT/d.safetensors"},
          {"--tokenizer MADE/other.json", "=WORDS --text MADE/prompt.txt --out OUT/d.safetensors"},
          {"--tokenizer MADE/other.json", "", refuse},
          {"--json", ""}};
}

Rows dump_cobra() {
  return {
      {"--images PICTURES", "=COBRA --out OUT/d.safetensors", repair},
      {"--image PICTURES/1_wide.png", "=COBRA --out OUT/d.safetensors", repair},
      {"--max-pictures 2", ""},
      {"--prompts MADE/one.jsonl", ""},
      {"--no-random-text", ""},
      {"--text-len 3", ""},
      {"--seed 7", ""},
      {"--sites projector", ""},
      {"--compute bf16", ""},
      {"--backend simulate", "", refuse},
      {"--backend simulate", "=LOWCOBRA --images PICTURES --sites * --out OUT/d.safetensors"},
      {"--tokenizer MADE/other-cobra.json", "--prompts MADE/one.jsonl"},
      {"--max-pictures 2", "=COBRA --image PICTURES/1_wide.png --out OUT/d.safetensors", refuse},
      {"--seed 7", "--no-random-text", refuse},
      {"--json", ""}};
}

Rows generate(const char* model_and_prompt, const char* low, FlagRow greedy) {
  return {{"--prompt-file MADE/prompt.txt", model_and_prompt, repair},
          {"--prompt The~sea", model_and_prompt, repair},
          {"--max-tokens 3", ""},
          {"--temperature 30", ""},
          {"--top-k 2", "--temperature 30"},
          {"--top-p 0.5", "--temperature 30"},
          {"--min-p 0.9", "--temperature 30"},
          {"--repetition-penalty 0.05", "--temperature 30"},
          {"--seed 7", "--temperature 30"},
          {"--seed 7", "--greedy", hide, "scripts seed every run; here nothing is drawn"},
          greedy,
          {"--greedy", "--temperature 0.7", refuse},
          {"--top-k 2", "--temperature 0", refuse},
          {"--ignore-eos", "", hide, "no text of these models comes to its end"},
          {"--compute bf16", "--json", hide, "the same tokens are the likeliest"},
          {"--backend simulate", "", refuse},
          {"--backend simulate", low, hide, kBackends},
          {"--tokenizer MADE/other.json", ""},
          {"--json", ""}};
}

Rows generate_cobra() {
  Rows out = generate("=COBRA --max-tokens 8", "=LOWCOBRA --prompt The~sea --max-tokens 4",
                      {"--greedy", "", hide, "a Cobra does so without it"});
  append(out, {{"--image PICTURES/1_wide.png", ""}});
  return out;
}

Rows bench_language() {
  return {{"--random mamba-tiny", "=--samples 1 --seqlen 8 --repeat 1", hide, kTimes},
          {"--samples 2", "", hide, kTimes},
          {"--seqlen 16", "", hide, kTimes},
          {"--repeat 1", "", hide, kTimes},
          {"--sites *in_proj:input", "", hide, kTimes},
          {"--fine 5", "", hide, kTimes},
          {"--size", "=LANGUAGE --repeat 1 --ttft --prompt-len 4"},
          {"--ttft", "=LANGUAGE --size"},
          {"--tpot", "=LANGUAGE --size"},
          {"--ttlt", "=LANGUAGE --size"},
          {"--prompt-len 4", "=LANGUAGE --repeat 1 --ttft"},
          {"--prompt-len 4", "", refuse},
          {"--gen-len 2", "=LANGUAGE --repeat 1 --tpot --prompt-len 4"},
          {"--gen-len 2", "", refuse},
          {"--batch 2", "=LANGUAGE --repeat 1 --ttft --prompt-len 4"},
          {"--batch 2", "", refuse},
          {"--fine 5", "=LANGUAGE --size", refuse},
          {"--compute bf16", "", hide, kTimes},
          {"--backend simulate", "", refuse},
          {"--repeat 2", "=LANGUAGE --size", refuse},
          {"--json", ""}};
}

Rows bench_cobra() {
  return {{"--random tiny-cobra-vision", "=--pictures 1", repair},
          {"--pictures 2", "", hide, kTimes},
          {"--batches 2", "", hide, kTimes},
          {"--text-len 3", "", hide, kTimes},
          {"--text-len 3", "=--random tiny-cobra-vision --pictures 1", refuse},
          {"--int8", "=--random tiny-cobra-vision --pictures 1", hide, kTimes},
          {"--int8", "", refuse},
          {"--compute bf16", "", hide, kTimes},
          {"--backend simulate", "", refuse},
          {"--json", ""}};
}

Rows decide() {
  const char* kBuckets = "=MADE/cobra.safetensors --out OUT/p.json";
  return {{"--policy minmax", ""},
          {"--percentile-alpha 0.9", ""},
          {"--percentile-alpha 0.9", "--policy quamba"},
          {"--percentile-alpha 0.9", "--policy minmax", refuse},
          {"--percentile-alpha 0.9", "--policy percentile:0.8", refuse},
          {"--percentile-alpha 0.9", "--policy minmax --per-site *in_proj:input=percentile"},
          {"--percentile-override 99", kBuckets},
          {"--percentile-override 99", "--policy tail"},
          {"--percentile-override 99", "--policy percentile", refuse},
          {"--percentile-override 99", "", refuse},
          {"--targets projector", kBuckets},
          {"--headroom 2", ""},
          {"--bits 4", ""},
          {"--asymmetric", ""},
          {"--per-side", "--asymmetric --policy percentile:0.9"},
          {"--per-side", "--policy percentile:0.9", refuse},
          {"--per-side", "--asymmetric --policy minmax", refuse},
          {"--per-side", "=MADE/windows.safetensors --asymmetric", refuse},
          {"--per-site *in_proj:input=minmax", ""},
          {"--allow-nonfinite", "=MADE/nan.safetensors --out OUT/p.json", repair},
          {"--out OUT/q.json", "=MADE/stats.safetensors"},
          {"--all", "", hide, kTerminal},
          {"--json", ""}};
}

Rows log_rows() {
  const char* kFile = "=activations MADE/activations.npz";
  return {{"--log MADE/other.jsonl", ""},
          {"--last 1", ""},
          {"--last 1", "--compare 1,2", refuse},
          {"--filter minmax", ""},
          {"--compare 1,2", ""},
          {"--percentile-alpha 0.5", kFile},
          {"--percentile-alpha 0.5", "", refuse},
          {"--csv", ""},
          {"--markdown", ""},
          {"--mlflow OUT/m", ""},
          {"--zero-based", "=show 0 --log MADE/log.jsonl", repair},
          {"--zero-based", "", refuse},
          {"--json", ""}};
}

Rows report() {
  return {{"--log MADE/log.jsonl", ""},
          {"--stats MADE/stats.safetensors", "--log MADE/log.jsonl"},
          {"--plan MADE/plan.json", ""},
          {"--checkpoint LOW", ""},
          {"--last 1", "--log MADE/log.jsonl"},
          {"--last 1", "", refuse},
          {"--json", ""}};
}

}  // namespace

const std::vector<FormRows>& flag_rows() {
  static const std::vector<FormRows> all{
      {{"demo", {}, ""},
       {{"--model-dir LANGUAGE", "", defer, "a demo takes minutes; demo.sh runs it"},
        {"--examples examples", "", defer, "a demo takes minutes; demo.sh runs it"},
        {"--out OUT/d", "", defer, "a demo takes minutes; demo.sh runs it"},
        {"--json", "", defer, "a demo takes minutes; demo.sh runs it"}}},
      {{"collect", kLanguage,
        "LANGUAGE --data IDS --samples 3 --seqlen 80 --out OUT/s.safetensors"},
       collect_language()},
      {{"collect", kCobra, "COBRA --images PICTURES --out OUT/s.safetensors"}, collect_cobra()},
      {{"collect", kRegressor, "REGRESSOR --feat-root FEATURES --out OUT/s.safetensors"},
       collect_regressor()},
      {{"decide", {}, "MADE/stats.safetensors --out OUT/p.json"}, decide()},
      {{"quantize", kLanguage, "LANGUAGE --stats MADE/stats.safetensors --out OUT/q"},
       quantize_language()},
      {{"quantize", kCobra, "COBRA --stats MADE/cobra-all.safetensors --out OUT/q"},
       quantize_cobra()},
      {{"quantize", kRegressor, "REGRESSOR --plan MADE/windows.json --out OUT/q.pt"},
       quantize_regressor()},
      {{"trace", kLanguage, "LOW"}, trace_rows("")},
      {{"trace", kCobra, "LOWCOBRA"}, trace_rows("")},
      {{"trace", kRegressor, "MADE/low.pt"},
       {{"--only *proj*", ""}, {"--csv", ""}, {"--json", ""}}},
      {{"scales", {}, "OUTPLAN --set *x_proj:input*=2"}, scales_rows()},
      {{"scales", kLanguage, "OUTLOW --set *x_proj:input*=2"}, scales_rows()},
      {{"scales", kCobra, "OUTCOBRA --set projector*=2"}, scales_rows()},
      {{"scales", kRegressor, "OUTREGRESSOR --set head:input*=2"}, scales_rows()},
      {{"report", {}, "--stats MADE/stats.safetensors --out OUT/r.html"}, report()},
      {{"export", kLanguage, "LOW --dequantized --out OUT/q"}, plain_export()},
      {{"export", kCobra, "LOWCOBRA --dequantized --out OUT/q"}, plain_export()},
      {{"export", kRegressor, "REGRESSOR --q8.8 --out OUT/q"}, export_regressor()},
      {{"eval", kLanguage, "LANGUAGE --perplexity IDS --window 32"}, eval_language()},
      {{"eval", kCobra, "COBRA --images PICTURES --against LOWCOBRA"}, eval_cobra()},
      {{"eval", kRegressor, "REGRESSOR --feat-root FEATURES"}, eval_regressor()},
      {{"run", kLanguage, "LANGUAGE " SCORED}, run_language()},
      {{"run", kCobra, "COBRA " SEEN}, run_cobra()},
      {{"sweep", kLanguage, "--models LANGUAGE " SCORED}, sweep_language()},
      {{"sweep", kCobra, "--models COBRA " SEEN}, sweep_cobra()},
      {{"log", {}, "--log MADE/log.jsonl"}, log_rows()},
      {{"sites", kLanguage, "LANGUAGE"}, {{"--json", ""}}},
      {{"sites", kCobra, "COBRA"}, {{"--json", ""}}},
      {{"sites", kRegressor, "REGRESSOR"}, {{"--json", ""}}},
      {{"merge", {}, "MADE/stats.safetensors MADE/more.safetensors --out OUT/m.safetensors"},
       {{"--json", ""}}},
      {{"dump", kLanguage, "LANGUAGE --ids MADE/ids.npy --out OUT/d.safetensors"}, dump_language()},
      {{"dump", kCobra, "COBRA --images PICTURES --out OUT/d.safetensors"}, dump_cobra()},
      {{"generate", kLanguage, "WORDS --prompt The~sea --max-tokens 8"},
       generate("=WORDS --max-tokens 8", "=LOWWORDS --prompt The~sea --max-tokens 4",
                {"--greedy", ""})},
      {{"generate", kCobra, "COBRA --prompt The~sea --max-tokens 8"}, generate_cobra()},
      {{"bench", kLanguage, "LANGUAGE --samples 1 --seqlen 8"}, bench_language()},
      {{"bench", kCobra, "COBRA --pictures 1"}, bench_cobra()},
      {{"bench", kRegressor, "REGRESSOR --frames 40"},
       {{"--frames 30", "", hide, kTimes},
        {"--stride 2", "", hide, kTimes},
        {"--repeat 1", "", hide, kTimes},
        {"--json", ""}}},
      {{"doctor", kLanguage, "LANGUAGE"},
       {{"--data MADE/ids.jsonl", ""},
        {"--data MADE/ids.jsonl", "=", refuse},
        {"--compute bf16", ""},
        {"--tokenizer MADE/other.json", "=WORDS --data MADE/short.jsonl"},
        {"--json", ""}}},
      {{"doctor", kCobra, "COBRA"},
       {{"--images PICTURES", ""},
        {"--prompts MADE/one.jsonl", ""},
        {"--no-random-text", ""},
        {"--text-len 3", ""},
        {"--compute bf16", ""},
        {"--tokenizer MADE/other-cobra.json", "--prompts MADE/one.jsonl"},
        {"--json", ""}}},
      {{"doctor", kRegressor, "REGRESSOR"},
       {{"--feat-root FEATURES", ""},
        {"--no-normalize", "=REGRESSOR --feat-root MADE/bare", repair},
        {"--json", ""}}},
  };
  return all;
}

}  // namespace scute
