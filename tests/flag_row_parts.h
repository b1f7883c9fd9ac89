// What the parts of flag_rows.cc share: internal to it.
#pragma once

#include <vector>

#include "tests/flag_rows.h"

namespace scute::flag_parts {

using enum FlagRow::Does;
using Rows = std::vector<FlagRow>;

inline constexpr auto kLanguage = ModelKind::language, kCobra = ModelKind::cobra,
                      kRegressor = ModelKind::regressor;
inline constexpr const char* kReplaced = "what it permits is tested where folders are replaced";
inline constexpr const char* kLeft =
    "what is left by the killed: cli_hygiene_test.cc kills one, and removes what stays without it";
inline constexpr const char* kTimes = "the figures are times, which no two runs share";
inline constexpr const char* kBackends = "both give the same figures where sums are exact";
inline constexpr const char* kTerminal = "only a terminal gets fewer rows without it";
inline constexpr const char* kCounts =
    "it adds :steps sites to statistics that are kept; the ranges of these short texts are the "
    "same";

#define EXPERIMENT "--data IDS --samples 3 --seqlen 80 --log OUT/log.jsonl "
#define SCORED EXPERIMENT "--tasks perplexity --eval-data perplexity=IDS --window 32 "
#define SEEN "--images PICTURES --log OUT/log.jsonl "

/// Whole command lines of run and sweep that differ in how the model is named.
struct ExperimentLines {
  const char *unrounded, *without_task, *without_texts, *words, *gptq, *texts, *grouped, *hybrid;
};
#define LINES(MODEL, GROUPED, TEXTS, HYBRIDS)                                           \
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
        "=" GROUPED EXPERIMENT,                                                         \
        "=" HYBRIDS                                                                     \
        "--log OUT/log.jsonl --w-bits 4 --a-bits 16 --tasks perplexity --eval-data "    \
        "perplexity=IDS --window 32"                                                    \
  }
inline constexpr ExperimentLines kRun = LINES("LANGUAGE ", "MAMBA2 ", "WORDS ", "HYBRID "),
                                 kSweep = LINES("--models LANGUAGE ", "--models MAMBA2 ",
                                                "--models WORDS ", "--models HYBRID ");

inline void append(Rows& rows, const Rows& more) {
  rows.insert(rows.end(), more.begin(), more.end());
}

Rows collect_language();
Rows collect_cobra();
Rows collect_regressor();
Rows rounding(const char* four_bits, const char* stateful, const char* fold);
Rows kinds_of_parts(const char* hybrid);
Rows quantize_language();
Rows quantize_cobra();
Rows layers(const char* beside);
Rows quantize_regressor();
Rows trace_rows(const char* json);
/// `target`, and what scales has `edited`, as whole lines.
Rows scales_rows(std::string_view target, std::string_view edited, std::string_view out);
Rows plain_export();
Rows export_language();
Rows export_regressor();
Rows eval_language();
Rows eval_cobra();
Rows eval_regressor();
Rows experiment_windows();
Rows experiment_rest(const ExperimentLines& lines);
Rows run_language();
Rows sweep_language();
Rows experiment_cobra(const char* one_batch);
Rows run_cobra();
Rows sweep_cobra();
Rows dump_language();
Rows dump_cobra();
Rows generate(const char* model_and_prompt, const char* low, FlagRow greedy);
Rows generate_language();
Rows generate_cobra();
Rows bench_language();
Rows bench_cobra();
Rows decide();
Rows log_rows();
Rows report();

}  // namespace scute::flag_parts
