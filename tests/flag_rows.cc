// Rows of the other verbs, and the table of all.
#include "tests/flag_row_parts.h"

namespace scute {
namespace flag_parts {

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

Rows generate_language() {
  Rows out = generate("=WORDS --max-tokens 8", "=LOWWORDS --prompt The~sea --max-tokens 4",
                      {"--greedy", ""});
  append(out, {{"--chat", "", refuse},
               {"--memory 2G", "", hide, "what was held is said on standard error"},
               {"--memory 2", "", refuse}});
  return out;
}

Rows generate_cobra() {
  Rows out = generate("=COBRA --max-tokens 8", "=LOWCOBRA --prompt The~sea --max-tokens 4",
                      {"--greedy", "", hide, "a Cobra does so without it"});
  append(out, {{"--image PICTURES/1_wide.png", ""},
               {"--memory 2G", "", hide, "what was held is said on standard error"}});
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
          {"--pp 4", "=LANGUAGE --repeat 1 --size -n 2"},
          {"--tg 2", "=LANGUAGE --repeat 1 --size -p 4"},
          {"--roofline", "=LANGUAGE --size"},
          {"--memory 2G", "=LANGUAGE --size"},
          {"--memory 2G", "=--random mamba-tiny --size"},
          {"--repeat 1", "=--roofline", refuse},
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
          {"--int8", "=--random tiny-cobra-vision --pictures 1"},
          {"--memory 2G", ""},
          {"--memory 2G", "=--random tiny-cobra-vision --pictures 1", refuse},
          {"--roofline", ""},
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

}  // namespace flag_parts

const std::vector<FormRows>& flag_rows() {
  using namespace flag_parts;
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
      {{"scales", {}, "OUTPLAN --set *x_proj:input*=2"},
       scales_rows("=OUTPLAN", "=MADE/edited.json --out OUT/e.json", "--out OUT/e.json")},
      {{"scales", kLanguage, "OUTLOW --set *x_proj:input*=2"},
       scales_rows("=OUTLOW", "=MADE/edited --out OUT/e", "--out OUT/e")},
      {{"scales", kCobra, "OUTCOBRA --set projector*=2"},
       scales_rows("=OUTCOBRA", "=MADE/edited-cobra --out OUT/e", "--out OUT/e")},
      {{"scales", kRegressor, "OUTREGRESSOR --set head:input*=2"},
       scales_rows("=OUTREGRESSOR", "=MADE/edited.pt --out OUT/e.pt", "--out OUT/e.pt")},
      {{"report", {}, "--stats MADE/stats.safetensors --out OUT/r.html"}, report()},
      {{"export", kLanguage, "LOW --dequantized --out OUT/q"}, export_language()},
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
       {{"--fan-in 4", "=MADE/parts --out OUT/m.safetensors", hide,
         "it says how much is in memory"},
        {"--fan-in 4", "", refuse},
        {"--json", ""}}},
      {{"dump", kLanguage, "LANGUAGE --ids MADE/ids.npy --out OUT/d.safetensors"}, dump_language()},
      {{"dump", kCobra, "COBRA --images PICTURES --out OUT/d.safetensors"}, dump_cobra()},
      {{"generate", kLanguage, "WORDS --prompt The~sea --max-tokens 8"}, generate_language()},
      {{"generate", kCobra, "COBRA --prompt The~sea --max-tokens 8"}, generate_cobra()},
      {{"bench", kLanguage, "LANGUAGE --samples 1 --seqlen 8"}, bench_language()},
      {{"bench", kCobra, "COBRA --pictures 1"}, bench_cobra()},
      {{"bench", kRegressor, "REGRESSOR --frames 40"},
       {{"--frames 30", "", hide, kTimes},
        {"--stride 2", "", hide, kTimes},
        {"--repeat 1", "", hide, kTimes},
        {"--roofline", ""},
        {"--json", ""}}},
      {{"doctor", kLanguage, "LANGUAGE"},
       {{"--data MADE/ids.jsonl", ""},
        {"--data MADE/ids.jsonl", "=", refuse},
        {"--eval-data MADE/ids.jsonl", "--data MADE/ids.jsonl"},
        {"--compute bf16", ""},
        {"--tokenizer MADE/other.json", "=WORDS --data MADE/short.jsonl"},
        {"--leftovers MADE", "--clean"},
        {"--clean", "--leftovers MADE"},
        {"--force", "--clean --leftovers MADE", hide, kLeft},
        {"--force", "--leftovers MADE", refuse},
        {"--json", ""}}},
      {{"doctor", kCobra, "COBRA"},
       {{"--images PICTURES", ""},
        {"--prompts MADE/one.jsonl", ""},
        {"--no-random-text", ""},
        {"--text-len 3", ""},
        {"--compute bf16", ""},
        {"--tokenizer MADE/other-cobra.json", "--prompts MADE/one.jsonl"},
        {"--eval-images PICTURES", "--images PICTURES"},
        {"--leftovers MADE", "--clean"},
        {"--clean", "--leftovers MADE"},
        {"--force", "--clean --leftovers MADE", hide, kLeft},
        {"--force", "--leftovers MADE", refuse},
        {"--json", ""}}},
      {{"doctor", kRegressor, "REGRESSOR"},
       {{"--feat-root FEATURES", ""},
        {"--no-normalize", "=REGRESSOR --feat-root MADE/bare", repair},
        {"--leftovers MADE", "--clean"},
        {"--clean", "--leftovers MADE"},
        {"--force", "--clean --leftovers MADE", hide, kLeft},
        {"--force", "--leftovers MADE", refuse},
        {"--json", ""}}},
  };
  return all;
}

}  // namespace scute
