#include "cli/doctor.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "cli/collecting.h"
#include "cli/terminal/color.h"
#include "cli/terminal/machine.h"
#include "cli/terminal/words.h"
#include "scute/base/names.h"
#include "scute/base/threads.h"
#include "scute/kernels/gemm.h"
#include "scute/kernels/gemm_int8.h"
#include "scute/language/silent_experts.h"

namespace scute::cli {
namespace {

constexpr int64_t kGigabyte = 1'000'000'000;

std::string_view level_name(Level level) {
  return level == Level::ok ? "ok" : level == Level::warning ? "WARN" : "FAIL";
}

}  // namespace

void Findings::note(Level level, std::string subject, std::string words, std::string advice) {
  findings_.push_back({level, std::move(subject), std::move(words), std::move(advice)});
}

void Findings::note_machine() {
  note(Level::ok, "processor",
       fmt::format("{}, {} usable", processor_name(), count_of(Threads(0).count(), "processor")));
  note(Level::ok, "kernels", instruction_sets());
  std::string wrong = gemm_self_test();
  if (wrong.empty()) wrong = gemm_int8_self_test();
  note(wrong.empty() ? Level::ok : Level::failure, "self-test",
       wrong.empty() ? "matrix products agree with plain loops" : wrong,
       wrong.empty() ? "" : "report this machine, with the line \"kernels\"");
  const Memory memory = memory_of_machine();
  const bool tight = memory.available < 2 * kGigabyte;
  note(tight ? Level::warning : Level::ok, "memory",
       fmt::format("{} available of {}", bytes_text(memory.available), bytes_text(memory.total)),
       tight ? "close other programs or use fewer --threads" : "");
  const int64_t disk = disk_free(".");
  const bool full = disk >= 0 && disk < kGigabyte;
  note(full ? Level::warning : Level::ok, "disk", fmt::format("{} free here", bytes_text(disk)),
       full ? "write results of large models elsewhere" : "");
}

void Findings::note_tokenizer(const Tokenizer* tokenizer, int64_t rows) {
  if (tokenizer == nullptr) {
    // 50,277 tokens, padded by state-spaces to 50,280 rows or 50,288: published without a
    // tokenizer.
    const bool neox = rows >= 50277 && rows <= 50304;
    note(Level::warning, "tokenizer", "no tokenizer.json in the model folder",
         neox ? "a model of this size takes GPT-NeoX-20B's (docs/getting_models.md): --tokenizer "
                "FILE, or data that holds token ids"
              : "--tokenizer FILE, or data that holds token ids (docs/getting_models.md)");
    return;
  }
  const std::string doubt = tokenizer_doubt(tokenizer->size(), rows);
  note(doubt.empty() ? Level::ok : Level::warning, "tokenizer",
       fmt::format("{} ids, the model has {} rows", grouped(tokenizer->size()), grouped(rows)),
       doubt);
}

void Findings::note_description(const ModelDescription& model) {
  if (!model.ignored.empty()) {
    note(Level::ok, "ignored",
         fmt::format("keys of {} that count for nothing in {}: {}", model.config_file,
                     model.dialect == "Hugging Face" ? "Hugging Face's dialect"
                                                     : "the state-spaces dialect",
                     joined(model.ignored, ", ")));
  }
  note_remarks(model.remarks);
}

void Findings::note_remarks(const std::vector<std::string>& remarks) {
  for (const std::string& remark : remarks) note(Level::ok, "remark", remark);
}

int64_t Findings::note_sample(const std::map<std::string, Statistic>& seen,
                              const std::string& shown) {
  int64_t nonfinite = 0, bytes = 0;
  for (const auto& [name, statistic] : seen) {
    nonfinite += statistic.nans + statistic.infs > 0 ? 1 : 0;
    bytes += statistic.histogram.bytes();
  }
  if (nonfinite > 0) {
    note(Level::failure, "sample",
         fmt::format("NaN or infinite values at {}", count_of(nonfinite, "site")),
         "the weights are damaged or overflow in this precision");
  } else {
    note(Level::ok, "sample",
         fmt::format("{}, {}, all values finite", shown, count_of(std::ssize(seen), "site")));
  }
  return bytes;
}

void Findings::note_silence(const std::vector<std::string>& silent) {
  const std::vector<std::string> missed = missed_sites(silent, "");
  if (missed.empty()) return;
  note(Level::warning, "sites",
       fmt::format("{} that the sample never reached: {}", count_of(std::ssize(missed), "site"),
                   first_few(missed)),
       "collect refuses silence where it is not expected: leave them out with --sites");
}

void Findings::note_percentiles(const std::map<std::string, Statistic>& seen, double times) {
  constexpr std::array kFinest{99.999, 99.99, 99.9, 99.0, 0.0};
  const Statistic* fewest = nullptr;
  std::string where;
  for (const auto& [name, statistic] : seen) {
    if (name.ends_with(":steps") || is_expert_site(name)) continue;  // by the data, not by design
    if (fewest != nullptr && statistic.finite() >= fewest->finite()) continue;
    fewest = &statistic;
    where = name;
  }
  if (fewest == nullptr) return;
  const double values = std::floor(static_cast<double>(fewest->finite()) * times);
  const auto rests = [&](double percentile) {
    return values * (100 - percentile) / 100 >= 1 - 1e-6;
  };
  const auto finest = std::ranges::find_if(kFinest, rests);
  const bool few = finest != kFinest.begin();
  std::string words =
      fmt::format("{} values at {}, the fewest", grouped(static_cast<int64_t>(values)), where);
  if (few) {
    words = fmt::format("p99.999 of {} values rests on none at {}: 100,000 are needed",
                        grouped(static_cast<int64_t>(values)), where);
  }
  note(few ? Level::warning : Level::ok, "values", words,
       few ? (finest + 1 == kFinest.end()
                  ? std::string("more samples; no percentile rests on so few")
                  : fmt::format("more samples, or a percentile up to {:g}", *finest))
           : "");
}

void Findings::note_overlap(const Overlap& overlap, const std::string& unit,
                            const std::string& where) {
  const std::string of = count_of(overlap.units, unit);
  const std::string window =
      overlap.length > 1 ? fmt::format("in a row of {} that is in {} too", overlap.length, where)
                         : fmt::format("in {} too", where);
  const bool any = overlap.shared > 0;
  note(any ? Level::warning : Level::ok, "overlap",
       fmt::format("{} of {} {}{}", any ? grouped(overlap.shared) : "none", of, window,
                   any ? fmt::format(" ({} %)", fixed(100 * overlap.share(), 1)) : ""),
       any ? "calibrate on others: scores on what was seen flatter" : "");
}

void Findings::note_disk(int64_t bytes) {
  const int64_t free = disk_free(".");
  if (free < 0 || bytes <= free) return;
  note(Level::warning, "disk",
       fmt::format("statistics take up to {}, {} are free here", bytes_text(bytes),
                   bytes_text(free)),
       "write them elsewhere");
}

void Findings::note_peak(int64_t peak) {
  const int64_t available = memory_of_machine().available + peak_memory();
  const bool too_much = peak > available;
  note(too_much ? Level::warning : Level::ok, "peak",
       fmt::format("about {} of memory", bytes_text(peak)),
       too_much ? "use --compute bf16 or fewer --threads; of a language model collect and quantize "
                  "keep within --memory SIZE"
                : "");
}

Json Findings::as_json(bool failed) const {
  Json out;
  out["ok"] = !failed;
  out["findings"] = Json::array();
  for (const Finding& finding : findings_) {
    Json entry;
    entry["level"] = level_name(finding.level);
    entry["subject"] = finding.subject;
    entry["words"] = finding.words;
    if (!finding.advice.empty()) entry["advice"] = finding.advice;
    out["findings"].push_back(std::move(entry));
  }
  return out;
}

std::string Findings::as_text() const {
  std::string out;
  for (const Finding& finding : findings_) {
    constexpr std::array kTints{Tint::good, Tint::warning, Tint::bad};  // in the order of Level
    const std::string level = fmt::format("{:<4}", level_name(finding.level));
    out += fmt::format("{}  {:<9}  {}\n",
                       tinted(level, kTints[static_cast<size_t>(finding.level)], stdout),
                       finding.subject, finding.words);
    if (!finding.advice.empty()) out += fmt::format("{:17}→ {}\n", "", finding.advice);
  }
  return out;
}

int Findings::show(bool json, Output& out) const {
  const bool failed = std::ranges::any_of(
      findings_, [](const Finding& finding) { return finding.level == Level::failure; });
  if (json) {
    out.write_json(as_json(failed));
  } else {
    out.write(as_text());
  }
  return failed ? kFailed : kDone;
}

}  // namespace scute::cli
