// Rows of eval, run and sweep.
#include "tests/flag_row_parts.h"

namespace scute::flag_parts {

Rows eval_language() {
  return {{"--perplexity IDS --window 32", "=LANGUAGE --last-word MADE/passages.jsonl"},
          {"--last-word MADE/passages.jsonl", ""},
          {"--parts OUT/p", "", hide, "it keeps what is found"},
          {"--shard 0/2", "", refuse},
          {"--shard 0/2", "--parts OUT/p"},
          {"--log OUT/l.jsonl", "--parts OUT/p --shard 0/2", refuse},
          {"--checkpoint-every 1min", "", refuse},
          {"--checkpoint-every 1min", "--parts OUT/p", hide, "how soon it is kept"},
          {"--window 16", ""},
          {"--stride 8", ""},
          {"--max-windows 1", ""},
          {"--max-items 2", "--last-word MADE/passages.jsonl"},
          {"--context 3", ""},
          {"--stepwise", ""},
          {"--against LOW", ""},
          {"--items-out OUT/items.jsonl", ""},
          {"--log OUT/log.jsonl", ""},
          {"--memory 2G", ""},
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
          {"--parts OUT/p", "", hide, "it keeps what is found"},
          {"--shard 0/2", "", refuse},
          {"--shard 0/2", "--parts OUT/p"},
          {"--log OUT/l.jsonl", "--parts OUT/p --shard 0/2", refuse},
          {"--checkpoint-every 1min", "", refuse},
          {"--checkpoint-every 1min", "--parts OUT/p", hide, "how soon it is kept"},
          {"--max-pictures 1", ""},
          {"--prompts MADE/one.jsonl", ""},
          {"--no-random-text", ""},
          {"--text-len 3", ""},
          {"--seed 7", ""},
          {"--seed 7", "--no-random-text", refuse},
          {"--items-out OUT/items.jsonl", ""},
          {"--log OUT/log.jsonl", ""},
          {"--memory 2G", ""},
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
               {"--memory 2G", ""},
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
  append(out, kinds_of_parts(kRun.hybrid));
  append(out,
         {{"--group-heads", kRun.grouped},
          {"--policy percentile:0.8", ""},
          {"--policy minmax", kRun.unrounded, refuse},
          {"--data IDS", kRun.unrounded, refuse},
          {"--percentile-alpha 0.9", ""},
          {"--percentile-alpha 0.9", "--policy quamba"},
          {"--percentile-alpha 0.9", "--policy mse", refuse},
          {"--memory 2G", ""},
          {"--w-bits 4", ""},
          {"--a-bits 16", "--w-bits 4 --save-activations 9"},
          {"--tokenizer MADE/other.json", kRun.texts},
          {"--gptq", "=LANGUAGE --log OUT/log.jsonl --w-bits 16 --a-bits 16", refuse},
          {"--attention FP", "=LANGUAGE --log OUT/log.jsonl --w-bits 16 --a-bits 16", refuse},
          {"--cache int8", "=LANGUAGE --log OUT/log.jsonl --w-bits 16 --a-bits 16", refuse},
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
  append(out, kinds_of_parts(kSweep.hybrid));
  append(out, {{"--group-heads", kSweep.grouped},
               {"--shard 0/2", "--policies minmax,mse"},
               {"--policies percentile:0.8", ""},
               {"--policies minmax", kSweep.unrounded, refuse},
               {"--percentile-alphas 0.9", ""},
               {"--percentile-alphas 0.9", "--policies quamba"},
               {"--percentile-alphas 0.9", "--policies mse", refuse},
               {"--memory 2G", ""},
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
               {"--memory 2G", ""},
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
  append(out, {{"--shard 0/2", "--policies minmax,auto"},
               {"--policies minmax", ""},
               {"--memory 2G", ""},
               {"--policies minmax", "--w-bits 4 --a-bits 16", refuse},
               {"--percentile-alphas 0.9", ""},
               {"--percentile-alphas 0.9", "--policies tail", refuse},
               {"--log-failure ignore", "", hide, "a record that is kept is no failure"},
               {"--json", "=--models COBRA " SEEN}});
  return out;
}

}  // namespace scute::flag_parts
