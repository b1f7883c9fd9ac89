#include "cli/terminal/coming_from.h"

#include <algorithm>

#include "cli/terminal/options.h"

namespace scute::cli {
namespace {

/// A program, and the work that its users come for.
struct ProgramElsewhere {
  std::string_view name;
  std::string_view verb;  ///< empty: any
  bool of_models;         ///< false: of what they wrote
  ModelKind kind = {};
};
constexpr ProgramElsewhere kPrograms[] = {{"pct_collect", "collect", true, ModelKind::cobra},
                                          {"pct_apply", "decide", false},
                                          {"main.py", "", true, ModelKind::language},
                                          {"view_percentile_logs.py", "log", false},
                                          {"eval.py", "", true, ModelKind::regressor},
                                          {"llama-bench", "bench", true, ModelKind::language}};

}  // namespace

bool does_the_work(const FlagElsewhere& row, const Call& call) {
  const auto* found = std::ranges::find(kPrograms, row.program, &ProgramElsewhere::name);
  if (found == std::end(kPrograms) || call.form == nullptr) return false;
  if (call.form->kind.has_value() != found->of_models) return false;
  if (found->of_models && *call.form->kind != found->kind) return false;
  return found->verb.empty() || found->verb == call.verb;
}

const std::vector<FlagElsewhere>& flags_elsewhere() {
  static const std::vector<FlagElsewhere> table{
      {"pct_collect", "--model", "MODEL, the first word",
       "scute collect tests/golden/cobra/model --images tests/golden/cobra/pictures --out "
       "percentile_stats.pt"},
      {"pct_collect", "--data", "--images DIR",
       "scute collect tests/golden/cobra/model --images tests/golden/cobra/pictures --out "
       "percentile_stats.pt"},
      {"pct_collect", "--images", "the same",
       "scute collect tests/golden/cobra/model --images tests/golden/cobra/pictures --out "
       "percentile_stats.pt"},
      {"pct_collect", "--batches", "the same",
       "scute collect tests/golden/cobra/model --images tests/golden/cobra/pictures --out "
       "percentile_stats.pt --batches 1"},
      {"pct_collect", "--batch-size", "the same",
       "scute collect tests/golden/cobra/model --images tests/golden/cobra/pictures --out "
       "percentile_stats.pt --batch-size 2"},
      {"pct_collect", "--img-size",
       "nothing: pictures get the model's own size; img_size in the file of --config is compared "
       "with it",
       "scute collect tests/golden/cobra/model --images tests/golden/cobra/pictures --out "
       "percentile_stats.pt"},
      {"pct_collect", "--text-len", "the same",
       "scute collect tests/golden/cobra/model --images tests/golden/cobra/pictures --out "
       "percentile_stats.pt --text-len 8"},
      {"pct_collect", "--targets", "the same",
       "scute collect tests/golden/cobra/model --images tests/golden/cobra/pictures --out "
       "percentile_stats.pt --targets vision.siglip,projector"},
      {"pct_collect", "--no-random-text", "the same",
       "scute collect tests/golden/cobra/model --images tests/golden/cobra/pictures --out "
       "percentile_stats.pt --no-random-text --targets vision.siglip,projector"},
      {"pct_collect", "--out", "the same",
       "scute collect tests/golden/cobra/model --images tests/golden/cobra/pictures --out "
       "percentile_stats.pt"},
      {"pct_collect", "--export", "--out FILE, ending in .pt or .safetensors",
       "scute collect tests/golden/cobra/model --images tests/golden/cobra/pictures --out "
       "percentile_stats.pt"},
      {"pct_collect", "--export-best-json", "the same",
       "scute collect tests/golden/cobra/model --images tests/golden/cobra/pictures --out "
       "percentile_stats.pt --export-best-json best.json"},
      {"pct_collect", "--percentile-override", "the same, beside --export-best-json",
       "scute collect tests/golden/cobra/model --images tests/golden/cobra/pictures --out "
       "percentile_stats.pt --export-best-json best.json --percentile-override 99.9"},
      {"pct_collect", "--device", "the same; cpu is what there is",
       "scute collect tests/golden/cobra/model --images tests/golden/cobra/pictures --out "
       "percentile_stats.pt --device cpu"},
      {"pct_apply", "--model", "nothing: ranges are decided without the model",
       "scute decide percentile_stats.pt --out percentile_overrides.json"},
      {"pct_apply", "--summary", "STATS, the first word of scute decide",
       "scute decide percentile_stats.pt --out percentile_overrides.json"},
      {"pct_apply", "--stats", "the same",
       "scute decide --stats percentile_stats.pt --out percentile_overrides.json"},
      {"pct_apply", "--out", "the same",
       "scute decide percentile_stats.pt --out percentile_overrides.json"},
      {"pct_apply", "--targets", "the same",
       "scute decide percentile_stats.pt --out percentile_overrides.json --targets projector"},
      {"pct_apply", "--percentile-override", "the same",
       "scute decide percentile_stats.pt --out percentile_overrides.json --percentile-override "
       "99.9"},
      {"pct_apply", "--best-percentile",
       "scute quantize MODEL --overrides FILE applies what scute decide wrote",
       "scute quantize tests/golden/cobra/model --overrides percentile_overrides.json --out "
       "cobra-w8a8"},
      {"pct_apply", "--device", "nothing: scute decide computes in milliseconds on the processor",
       "scute decide percentile_stats.pt --out percentile_overrides.json"},
      {"main.py", "--calib_data_num", "the same, or --samples N",
       "scute collect examples/tiny-mamba1 --data examples/text/calibration.jsonl --calib_data_num "
       "8 --seqlen 64 --out stats.safetensors"},
      {"main.py", "--calib_seqlen", "the same, or --seqlen N",
       "scute collect examples/tiny-mamba1 --data examples/text/calibration.jsonl --samples 8 "
       "--calib_seqlen 64 --out stats.safetensors"},
      {"main.py", "--quantize",
       "scute quantize MODEL --stats FILE --out DIR writes the low-bit model, which scute eval "
       "reads; scute run does both",
       "scute quantize examples/tiny-mamba1 --stats stats.safetensors --out tiny-w8a8"},
      {"main.py", "--pretrained_dir",
       "--out DIR of scute quantize; the same beside --output-subdir in scute run",
       "scute run examples/tiny-mamba1 --data examples/text/calibration.jsonl --samples 8 --seqlen "
       "64 --pretrained_dir models --output_subdir pa"},
      {"main.py", "--output_subdir", "the same, in scute run and sweep",
       "scute run examples/tiny-mamba1 --data examples/text/calibration.jsonl --samples 8 --seqlen "
       "64 --pretrained_dir models --output_subdir pa"},
      {"main.py", "--group_heads", "the same, in scute quantize, run and sweep, of Mamba-2",
       "scute run examples/tiny-mamba2 --data examples/text/calibration.jsonl --samples 8 --seqlen "
       "64 --group_heads"},
      {"main.py", "--quantize_embedding", "the same, in scute quantize, run and sweep",
       "scute quantize examples/tiny-mamba1 --stats stats.safetensors --out tiny-w8a8 "
       "--quantize_embedding --force"},
      {"main.py", "--quantize_lm_head", "the same, in scute quantize, run and sweep",
       "scute quantize examples/tiny-mamba1 --stats stats.safetensors --out tiny-w8a8 "
       "--quantize_lm_head --force"},
      {"main.py", "--apply_gptq", "the same, or --gptq, with --data FILE, in scute quantize",
       "scute quantize examples/tiny-mamba1 --stats stats.safetensors --out tiny-w8a8 --apply_gptq "
       "--data examples/text/calibration.jsonl --samples 4 --seqlen 64 --force"},
      {"main.py", "--w_bits", "the same, in scute quantize, run and sweep",
       "scute quantize examples/tiny-mamba1 --w_bits 4 --a_bits 16 --out tiny-w4a16"},
      {"main.py", "--a_bits", "the same, in scute quantize, run and sweep",
       "scute quantize examples/tiny-mamba1 --w_bits 4 --a_bits 16 --out tiny-w4a16"},
      {"main.py", "--hybrid_blocks", "--hybrid-blocks FILE of scute quantize takes the list itself",
       "scute quantize examples/tiny-mamba1 --stats stats.safetensors --out tiny-w8a8 "
       "--hybrid_blocks hybrid.json --force"},
      {"main.py", "--hybrid_blocks_config", "--hybrid-blocks FILE of scute quantize",
       "scute quantize examples/tiny-mamba1 --stats stats.safetensors --out tiny-w8a8 "
       "--hybrid_blocks hybrid.json --force"},
      {"main.py", "--percentile_alpha",
       "--policy quamba --percentile-alpha A, in scute decide, quantize, run and sweep, is that "
       "program's recipe; alone it means a percentile at every site",
       "scute run examples/tiny-mamba1 --data examples/text/calibration.jsonl --samples 8 --seqlen "
       "64 --policy quamba --percentile_alpha 0.9999"},
      {"main.py", "--eval_zero_shot",
       "scute eval MODEL --last-word FILE, with LAMBADA as a .jsonl of passages",
       "scute eval examples/tiny-mamba1 --last-word examples/text/last_word.jsonl --max-items 4"},
      {"main.py", "--eval_few_shot",
       "nothing: scute scores passages as they are; put the examples into the file of --last-word",
       "scute eval examples/tiny-mamba1 --last-word examples/text/last_word.jsonl --max-items 4"},
      {"main.py", "--fewshot", "nothing: put the examples into the file of --last-word",
       "scute eval examples/tiny-mamba1 --last-word examples/text/last_word.jsonl --max-items 4"},
      {"main.py", "--eval_generation", "scute generate MODEL --prompt TEXT",
       "scute generate examples/tiny-mamba1 --prompt 'The sea' --max-tokens 4"},
      {"main.py", "--task_list",
       "lambada_openai is scute eval MODEL --last-word FILE, wikitext2 is --perplexity FILE; "
       "--tasks of scute run takes last-word,perplexity",
       "scute run examples/tiny-mamba1 --data examples/text/calibration.jsonl --samples 8 --seqlen "
       "64 --tasks last-word --eval-data examples/text/last_word.jsonl --max-items 4"},
      {"main.py", "--eval_ppl", "scute eval MODEL --perplexity FILE",
       "scute eval examples/tiny-mamba1 --perplexity examples/text/heldout.txt --window 128 "
       "--max-windows 2"},
      {"main.py", "--ppl_dataset", "--perplexity FILE: the text itself, .txt, .jsonl or .npy",
       "scute eval examples/tiny-mamba1 --perplexity examples/text/heldout.txt --window 128 "
       "--max-windows 2"},
      {"main.py", "--testing", "--max-items 100",
       "scute eval examples/tiny-mamba1 --last-word examples/text/last_word.jsonl --max-items 4"},
      {"main.py", "--batch_size",
       "nothing: passages are scored one to a thread, --threads N says how many; results do not "
       "depend on it",
       "scute eval examples/tiny-mamba1 --last-word examples/text/last_word.jsonl --max-items 4 "
       "--threads 2"},
      {"main.py", "--log_dir", "--log FILE, one log for all runs",
       "scute eval examples/tiny-mamba1 --last-word examples/text/last_word.jsonl --max-items 4 "
       "--log experiments.jsonl"},
      {"main.py", "--dtype", "--compute f32 or bf16",
       "scute eval examples/tiny-mamba1 --last-word examples/text/last_word.jsonl --max-items 4 "
       "--compute bf16"},
      {"main.py", "--verbose", "nothing: progress is shown on a terminal unless --quiet",
       "scute eval examples/tiny-mamba1 --last-word examples/text/last_word.jsonl --max-items 4"},
      {"main.py", "--mode",
       "nothing: --backend integer or simulate says how a low-bit model computes",
       "scute eval tiny-w8a8 --last-word examples/text/last_word.jsonl --max-items 4 --backend "
       "simulate"},
      {"main.py", "--high_precision_norm", "nothing: there is one way in which norms are computed",
       "scute eval examples/tiny-mamba1 --last-word examples/text/last_word.jsonl --max-items 4"},
      {"view_percentile_logs.py", "--log_file", "the same, or --log FILE",
       "scute log --log_file logs/percentile_experiments.jsonl"},
      {"view_percentile_logs.py", "--last", "the same", "scute log --last 1"},
      {"view_percentile_logs.py", "--filter", "the same", "scute log --filter tiny"},
      {"view_percentile_logs.py", "--compare",
       "the same; numbers are those that scute log shows, from 1", "scute log --compare 1,2"},
      {"eval.py", "--feat_root", "the same",
       "scute eval tests/golden/regressor/slim.pt --feat_root tests/golden/regressor_features"},
      {"eval.py", "--target", "the same",
       "scute eval tests/golden/regressor/slim.pt --feat_root tests/golden/regressor_features "
       "--target eval"},
      {"eval.py", "--ckpt", "the same, or the first word",
       "scute eval --ckpt tests/golden/regressor/slim.pt --feat_root "
       "tests/golden/regressor_features"},
      {"eval.py", "--batch_size", "the same, beside a quantization flag",
       "scute eval tests/golden/regressor/slim.pt --feat_root tests/golden/regressor_features "
       "--quant_bits 8 --batch_size 32"},
      {"eval.py", "--quant_backend", "the same; cpp or extension, python or lsq",
       "scute eval tests/golden/regressor/slim.pt --feat_root tests/golden/regressor_features "
       "--quant_backend cpp --quant_bits 16"},
      {"eval.py", "--quant_bits", "the same",
       "scute eval tests/golden/regressor/slim.pt --feat_root tests/golden/regressor_features "
       "--quant_bits 16"},
      {"eval.py", "--quantize_all", "the same",
       "scute eval tests/golden/regressor/slim.pt --feat_root tests/golden/regressor_features "
       "--quantize_all"},
      {"eval.py", "--q_proj", "the same",
       "scute eval tests/golden/regressor/slim.pt --feat_root tests/golden/regressor_features "
       "--q_proj"},
      {"eval.py", "--q_head", "the same",
       "scute eval tests/golden/regressor/slim.pt --feat_root tests/golden/regressor_features "
       "--q_head"},
      {"eval.py", "--q_proj_head", "--q-proj --q-head",
       "scute eval tests/golden/regressor/slim.pt --feat_root tests/golden/regressor_features "
       "--q_proj --q_head"},
      {"eval.py", "--q_block_linear", "the same",
       "scute eval tests/golden/regressor/slim.pt --feat_root tests/golden/regressor_features "
       "--q_block_linear"},
      {"eval.py", "--q_backbone_linear", "the same",
       "scute eval tests/golden/regressor/slim.pt --feat_root tests/golden/regressor_features "
       "--q_backbone_linear"},
      {"eval.py", "--quant_mode",
       "the same; fixed, scales of 1/256, is fixed88 here and needs 16 bits",
       "scute eval tests/golden/regressor/slim.pt --feat_root tests/golden/regressor_features "
       "--quant_mode fixed88"},
      {"eval.py", "--calib_method", "the same",
       "scute eval tests/golden/regressor/slim.pt --feat_root tests/golden/regressor_features "
       "--quant_bits 8 --calib_method p99"},
      {"eval.py", "--quant_calib_batches", "the same",
       "scute eval tests/golden/regressor/slim.pt --feat_root tests/golden/regressor_features "
       "--quant_bits 8 --quant_calib_batches 2"},
      {"eval.py", "--save_calib_ckpt", "the same",
       "scute eval tests/golden/regressor/slim.pt --feat_root tests/golden/regressor_features "
       "--quant_bits 8 --save_calib_ckpt slim-int8.pt"},
      {"eval.py", "--dont_save_calib_ckpt",
       "nothing: without --save-calib-ckpt no checkpoint is written",
       "scute eval tests/golden/regressor/slim.pt --feat_root tests/golden/regressor_features "
       "--quant_bits 8"},
      {"eval.py", "--dump_quant_stats",
       "scute trace CKPT of the checkpoint that --save-calib-ckpt wrote",
       "scute trace slim-int8.pt"},
      {"eval.py", "--save_csv", "--out-dir DIR: predictions as .csv and .npz, figures, tables",
       "scute eval tests/golden/regressor/slim.pt --feat_root tests/golden/regressor_features "
       "--out_dir eval_out"},
      {"eval.py", "--out_dir", "the same",
       "scute eval tests/golden/regressor/slim.pt --feat_root tests/golden/regressor_features "
       "--out_dir eval_out"},
      {"eval.py", "--break_thresh", "the same, beside --out-dir",
       "scute eval tests/golden/regressor/slim.pt --feat_root tests/golden/regressor_features "
       "--out_dir eval_out --break_thresh 0.05"},
      {"eval.py", "--use_dwconv", "nothing: the checkpoint says which layers it has",
       "scute eval tests/golden/regressor/slim.pt --feat_root tests/golden/regressor_features"},
      {"eval.py", "--pe_off", "nothing: the checkpoint says which layers it has",
       "scute eval tests/golden/regressor/slim.pt --feat_root tests/golden/regressor_features"},
      {"eval.py", "--pe_scale", "nothing: the checkpoint says which layers it has",
       "scute eval tests/golden/regressor/slim.pt --feat_root tests/golden/regressor_features"},
      {"eval.py", "--gate_off", "nothing: the checkpoint says which layers it has",
       "scute eval tests/golden/regressor/slim.pt --feat_root tests/golden/regressor_features"},
      {"eval.py", "--agg_pool", "nothing: the checkpoint says which layers it has",
       "scute eval tests/golden/regressor/slim.pt --feat_root tests/golden/regressor_features"},
      {"eval.py", "--workers", "--threads N",
       "scute eval tests/golden/regressor/slim.pt --feat_root tests/golden/regressor_features "
       "--threads 2"},
      {"eval.py", "--prefetch", "nothing: how features are read is no choice here",
       "scute eval tests/golden/regressor/slim.pt --feat_root tests/golden/regressor_features"},
      {"eval.py", "--mmap_off", "nothing: how features are read is no choice here",
       "scute eval tests/golden/regressor/slim.pt --feat_root tests/golden/regressor_features"},
      {"eval.py", "--preload", "nothing: how features are read is no choice here",
       "scute eval tests/golden/regressor/slim.pt --feat_root tests/golden/regressor_features"},
      {"eval.py", "--progress", "nothing: progress is shown on a terminal",
       "scute eval tests/golden/regressor/slim.pt --feat_root tests/golden/regressor_features"},
      {"eval.py", "--no_progress", "--quiet",
       "scute eval tests/golden/regressor/slim.pt --feat_root tests/golden/regressor_features "
       "--quiet"},
      {"eval.py", "--device", "the same; cpu is what there is",
       "scute eval tests/golden/regressor/slim.pt --feat_root tests/golden/regressor_features "
       "--device cpu"},
      {"llama-bench", "-m", "MODEL, the first word", "scute bench examples/tiny-mamba1 -p 32 -n 8"},
      {"llama-bench", "-p", "the same, or --pp N", "scute bench examples/tiny-mamba1 -p 32 -n 8"},
      {"llama-bench", "-n", "the same, or --tg N", "scute bench examples/tiny-mamba1 -p 32 -n 8"},
      {"llama-bench", "-t", "--threads N",
       "scute bench examples/tiny-mamba1 -p 32 -n 8 --threads 2"},
      {"llama-bench", "-r", "--repeat N", "scute bench examples/tiny-mamba1 -p 32 -n 8 --repeat 5"},
      {"llama-bench", "-o", "--json", "scute bench examples/tiny-mamba1 -p 32 -n 8 --json"},
      {"llama-bench", "-b",
       "nothing: a prompt is one pass, however long; --batch N is N sequences at once",
       "scute bench examples/tiny-mamba1 -p 32 --batch 2"},
      {"llama-bench", "-ngl", "nothing: everything is computed on the processor",
       "scute bench examples/tiny-mamba1 -p 32 -n 8"},
      {"llama-bench", "-fa", "nothing: these models have no attention",
       "scute bench examples/tiny-mamba1 -p 32 -n 8"},
  };
  return table;
}

const FlagElsewhere* flag_elsewhere(const Call& call, std::string_view name) {
  const FlagElsewhere* first = nullptr;
  for (const FlagElsewhere& row : flags_elsewhere()) {
    if (flag_name(std::string(row.flag)) != name) continue;
    if (does_the_work(row, call)) return &row;
    if (first == nullptr) first = &row;
  }
  return first;
}

}  // namespace scute::cli
