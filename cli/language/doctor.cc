// scute doctor: is everything there that a collection needs, and how long will it take?
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <optional>

#include "cli/form.h"
#include "cli/language/forward.h"
#include "cli/terminal/machine.h"
#include "cli/terminal/options.h"
#include "cli/terminal/words.h"
#include "scute/base/error.h"
#include "scute/base/threads.h"
#include "scute/data/documents.h"
#include "scute/kernels/gemm_int8.h"
#include "scute/language/model_folder.h"
#include "scute/observe/recorder.h"

namespace scute::cli {
namespace {

constexpr int64_t kSamples = 512, kSeqlen = 512;  ///< what collect does by default
constexpr int64_t kGigabyte = 1'000'000'000;

enum class Level { ok, warning, failure };

struct Finding {
  Level level;
  std::string subject, words, advice;  ///< advice: what to do; may be empty
};

std::string_view level_name(Level level) {
  return level == Level::ok ? "ok" : level == Level::warning ? "WARN" : "FAIL";
}

struct DoctorRequest {
  std::string model, tokenizer;
  std::vector<std::string> data;
  Compute compute = Compute::f32;
  int threads = 0;
  bool json = false;

  void declare(Options& options) {
    options.model(model, Options::Need::optional);
    options.texts("--data", data, "FILE...", ".jsonl, .txt or .npy, as for collect");
    options.compute(compute);
    options.tokenizer(tokenizer);
    options.machine(threads);
    options.json(json);
  }
};

/// Looks at one thing after the other and notes what it finds.
class Examination {
 public:
  explicit Examination(const DoctorRequest& request)
      : request_(request), threads_(request.threads) {}

  const std::vector<Finding>& findings() const { return findings_; }

  void all() {
    machine();
    if (!request_.model.empty()) model();
    if (description_) tokenizer();
    if (!request_.data.empty()) data();
    if (model_) one_sample();
  }

 private:
  void note(Level level, std::string subject, std::string words, std::string advice = "") {
    findings_.push_back({level, std::move(subject), std::move(words), std::move(advice)});
  }
  /// False, and a FAIL, when `look` throws.
  template <class F>
  bool try_to(const std::string& subject, const std::string& advice, const F& look) {
    try {
      look();
      return true;
    } catch (const std::exception& error) {
      note(Level::failure, subject, error.what(), advice);
      return false;
    }
  }
  void machine();
  void model();
  void tokenizer();
  void data();
  void one_sample();
  std::vector<int32_t> sample() const;

  const DoctorRequest& request_;
  Threads threads_;
  std::vector<Finding> findings_;
  std::optional<ModelDescription> description_;
  std::optional<LanguageModel> model_;
  std::optional<Tokenizer> tokenizer_;
  std::vector<std::vector<int32_t>> ids_;  ///< of the first documents
};

void Examination::machine() {
  note(Level::ok, "processor",
       fmt::format("{}, {} usable", processor_name(), count_of(Threads(0).count(), "processor")));
  note(Level::ok, "kernels",
       fmt::format("Highway {}, oneDNN {}", highway_target(), onednn_target()));
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
       full ? "statistics of a large model take up to 100 MB; write them elsewhere" : "");
}

void Examination::model() {
  const bool read = try_to("model", "give a folder with config.json and the weights",
                           [&] { description_ = describe_model(request_.model); });
  if (!read) return;
  const MambaConfig& c = description_->config;
  note(Level::ok, "model",
       fmt::format("{}: {}, {} dialect, {} layers of width {}, vocabulary {}", description_->name,
                   c.mixer == MixerKind::mamba1 ? "Mamba-1" : "Mamba-2", description_->dialect,
                   c.layers, c.width, c.vocabulary));
  const bool loaded = try_to("weights", "download or convert the checkpoint again", [&] {
    model_.emplace(load_model(*description_, request_.compute, LanguageModel::Head::absent));
  });
  if (!loaded) return;
  note(Level::ok, "weights",
       fmt::format("complete; {} packed for {}, the head left out",
                   bytes_text(model_->size().total()),
                   request_.compute == Compute::f32 ? "f32" : "bf16"));
}

void Examination::tokenizer() {
  const bool read =
      try_to("tokenizer", "use the tokenizer.json that belongs to this model (--tokenizer FILE)",
             [&] { tokenizer_ = load_tokenizer(*description_, request_.tokenizer); });
  if (!read) return;
  if (!tokenizer_) {
    note(Level::warning, "tokenizer", "no tokenizer.json in the model folder",
         "--tokenizer FILE, or data that holds token ids");
    return;
  }
  const int64_t size = tokenizer_->size(), rows = description_->config.vocabulary;
  // Vocabularies are padded to multiples of 8 … 128; a much smaller tokenizer is another model's.
  const bool suspicious = rows - size > std::max<int64_t>(512, rows / 100);
  note(suspicious ? Level::warning : Level::ok, "tokenizer",
       fmt::format("{} ids, the model has {} rows", grouped(size), grouped(rows)),
       suspicious ? "is it the one that belongs to this model?" : "");
}

void Examination::data() {
  constexpr size_t kLooked = 64;
  std::vector<Document> documents;
  const bool read = try_to("data", "see scute collect --help for what --data takes",
                           [&] { documents = read_documents(request_.data); });
  if (!read) return;
  const auto count = static_cast<int64_t>(documents.size());
  const bool few = count < kSamples;
  note(few ? Level::warning : Level::ok, "data", count_of(count, "document"),
       few ? fmt::format("fewer than {} samples: --windows-per-document {} cuts more", kSamples,
                         (kSamples + count - 1) / count)
           : "");
  const bool cut = try_to("tokens", "use the data's own tokenizer, or text", [&] {
    const size_t looked = std::min(kLooked, documents.size());
    for (size_t i = 0; i < looked; ++i) {
      if (!documents[i].ids && !tokenizer_) {
        fail(documents[i].file, "a tokenizer for its text (--tokenizer FILE)", "none");
      }
      ids_.push_back(documents[i].ids ? *documents[i].ids : tokenizer_->encode(documents[i].text));
    }
  });
  if (!cut) return;
  int64_t tokens = 0, few_tokens = 0;
  for (const auto& ids : ids_) {
    tokens += static_cast<int64_t>(ids.size());
    few_tokens += static_cast<int64_t>(ids.size()) < kSeqlen ? 1 : 0;
  }
  const auto looked = static_cast<int64_t>(ids_.size());
  const bool mostly_short = few_tokens * 2 > looked;
  note(mostly_short ? Level::warning : Level::ok, "tokens",
       fmt::format("{} in the first {}, {} of them shorter than {}", grouped(tokens),
                   count_of(looked, "document"), few_tokens, kSeqlen),
       mostly_short ? "short samples are fine for ranges, but --seqlen could be smaller" : "");
}

std::vector<int32_t> Examination::sample() const {
  for (const auto& ids : ids_) {
    if (static_cast<int64_t>(ids.size()) >= kSeqlen) return {ids.begin(), ids.begin() + kSeqlen};
  }
  return random_ids(kSeqlen, description_->config.vocabulary, 42);
}

/// One sample as collect runs it; everything else is arithmetic.
void Examination::one_sample() {
  Recorder recorder(observed_sites(model_->sites(), ""));
  Run run(&recorder);
  double seconds = 0;
  const bool ran = try_to("sample", "the model or the data is broken", [&] {
    const std::vector<int32_t> ids = sample();
    const auto time = [&](int64_t tokens) {
      const auto start = std::chrono::steady_clock::now();
      forward(*model_, run, std::span(ids).first(static_cast<size_t>(tokens)));
      return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    };
    time(16);
    seconds = time(kSeqlen);
  });
  if (!ran) return;
  int64_t nonfinite = 0, per_thread = run.arena().bytes();
  for (const auto& [name, statistic] : recorder.statistics()) {
    nonfinite += statistic.nans + statistic.infs > 0 ? 1 : 0;
    per_thread += statistic.histogram.bytes();
  }
  note(nonfinite > 0 ? Level::failure : Level::ok, "sample",
       nonfinite > 0
           ? fmt::format("NaN or infinite values at {}", count_of(nonfinite, "site"))
           : fmt::format("{} tokens, {}, all values finite", kSeqlen,
                         count_of(static_cast<int64_t>(recorder.statistics().size()), "site")),
       nonfinite > 0 ? "the weights are damaged or overflow in this precision" : "");
  const int threads = threads_.count();
  note(Level::ok, "time",
       fmt::format("about {} for {} samples of {} tokens on {}",
                   duration_text(seconds * kSamples / threads), kSamples, kSeqlen,
                   count_of(threads, "thread")));
  const int64_t peak = peak_memory() + (threads - 1) * per_thread;
  const int64_t available = memory_of_machine().available + peak_memory();
  const bool too_much = peak > available;
  note(too_much ? Level::warning : Level::ok, "peak",
       fmt::format("about {} of memory", bytes_text(peak)),
       too_much ? "use fewer --threads or --compute bf16" : "");
}

Json as_json(const std::vector<Finding>& findings, bool failed) {
  Json out;
  out["ok"] = !failed;
  out["findings"] = Json::array();
  for (const Finding& finding : findings) {
    Json entry;
    entry["level"] = level_name(finding.level);
    entry["subject"] = finding.subject;
    entry["words"] = finding.words;
    if (!finding.advice.empty()) entry["advice"] = finding.advice;
    out["findings"].push_back(std::move(entry));
  }
  return out;
}

std::string as_text(const std::vector<Finding>& findings) {
  std::string out;
  for (const Finding& finding : findings) {
    out += fmt::format("{:<4}  {:<9}  {}\n", level_name(finding.level), finding.subject,
                       finding.words);
    if (!finding.advice.empty()) out += fmt::format("{:17}→ {}\n", "", finding.advice);
  }
  return out;
}

int run(DoctorRequest& request, const Call&, Output& out) {
  Examination examination(request);
  examination.all();
  const auto& findings = examination.findings();
  const bool failed = std::any_of(findings.begin(), findings.end(), [](const Finding& finding) {
    return finding.level == Level::failure;
  });
  if (request.json) {
    out.write_json(as_json(findings, failed));
  } else {
    out.write(as_text(findings));
  }
  return failed ? kFailed : kDone;
}

}  // namespace

Form language_doctor_form() {
  return form<DoctorRequest>(
      {.kind = ModelKind::language,
       .example = "scute doctor examples/tiny-mamba1 --data examples/text/calibration.jsonl",
       .of_no_kind = true});
}

}  // namespace scute::cli
