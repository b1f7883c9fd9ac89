// scute doctor for language models, and for the machine alone.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>

#include "cli/doctor.h"
#include "cli/form.h"
#include "cli/language/forward.h"
#include "cli/leftovers.h"
#include "cli/terminal/machine.h"
#include "cli/terminal/options.h"
#include "cli/terminal/words.h"
#include "scute/base/error.h"
#include "scute/base/names.h"
#include "scute/base/threads.h"
#include "scute/data/documents.h"
#include "scute/data/overlap.h"
#include "scute/language/calibration.h"
#include "scute/language/memory_plan.h"
#include "scute/language/model_folder.h"
#include "scute/language/silent_experts.h"
#include "scute/observe/recorder.h"

namespace scute::cli {
namespace {

constexpr int64_t kSamples = 512, kSeqlen = 512;  ///< what collect does by default

struct DoctorRequest {
  std::string model;
  TextInput input;
  std::vector<std::string> data, eval_data;
  LeftoverFlags leftovers;
  Compute compute = Compute::f32;
  int threads = 0;
  bool json = false;

  void declare(Options& options) {
    options.model(model, Options::Need::optional);
    options.texts("--data", data, "FILE...", ".jsonl, .txt or .npy, as for collect");
    options.last_reads();
    options.texts("--eval-data", eval_data, "FILE...",
                  "what the model will be scored on: whether --data holds it too");
    options.last_reads();
    options.compute(compute);
    options.text_input(input);
    options.machine(threads);
    leftovers.declare(options);
    options.json(json);
    options.only_with({"--data", "--compute", "--tokenizer"}, "MODEL",
                      [this] { return !model.empty(); });
    options.only_with({"--eval-data"}, "--data FILE");
  }
};

/// "Mamba-2", or what a hybrid's layers are: "Mamba-2 (36), attention (4), feed-forward (40)".
std::string parts_text(const MambaConfig& config) {
  const char* mixer = config.mixer == MixerKind::mamba1 ? "Mamba-1" : "Mamba-2";
  if (config.pure()) return mixer;
  const std::array<std::pair<PartKind, const char*>, 4> kinds{
      {{PartKind::mixer, mixer},
       {PartKind::attention, "attention"},
       {PartKind::feed_forward, "feed-forward"},
       {PartKind::experts, "experts"}}};
  std::vector<std::string> out;
  for (const auto& [kind, word] : kinds) {
    int64_t count = 0;
    for (const BlockConfig& block : config.all_blocks()) {
      count += std::ranges::count(block.parts, kind);
    }
    if (count > 0) out.push_back(fmt::format("{} ({})", word, count));
  }
  return joined(out, ", ");
}

/// Looks at one thing after the other and notes what it finds.
class Examination {
 public:
  explicit Examination(const DoctorRequest& request)
      : request_(request), threads_(request.threads) {}

  Findings findings;

  void all() {
    findings.note_machine();
    if (!request_.model.empty()) model();
    if (description_) tokenizer();
    if (!request_.data.empty()) data();
    if (description_ && !request_.eval_data.empty()) overlap();
    if (model_) one_sample();
    request_.leftovers.note(findings);
  }

 private:
  void model();
  void tokenizer();
  void data();
  void overlap();
  void one_sample();
  void expected(const Recorder& recorder);
  std::vector<int32_t> sample() const;
  int64_t memory_of_collection(int threads) const;

  const DoctorRequest& request_;
  Threads threads_;
  std::optional<ModelDescription> description_;
  std::optional<LanguageModel> model_;
  std::optional<Tokenizer> tokenizer_;
  std::vector<std::vector<int32_t>> ids_;  ///< of the first documents
  int64_t samples_ = kSamples;             ///< that collect finds
};

void Examination::model() {
  const bool read = findings.try_to("model", "give a folder with config.json and the weights",
                                    [&] { description_ = describe_model(request_.model); });
  if (!read) return;
  const MambaConfig& c = description_->config;
  findings.note(
      Level::ok, "model",
      fmt::format("{}: {}, {} dialect, {} layers of width {}, vocabulary {}", description_->name,
                  parts_text(c), description_->dialect, c.layers, c.width, c.vocabulary));
  findings.note_description(*description_);
  const bool loaded = findings.try_to("weights", "download or convert the checkpoint again", [&] {
    model_.emplace(load_model(*description_, request_.compute, LanguageModel::Head::absent));
  });
  if (!loaded) return;
  findings.note(Level::ok, "weights",
                fmt::format("complete; {} packed for {}, the head left out",
                            bytes_text(model_->size().total()),
                            request_.compute == Compute::f32 ? "f32" : "bf16"));
}

void Examination::tokenizer() {
  const bool read = findings.try_to(
      "tokenizer", "use the tokenizer.json that belongs to this model (--tokenizer FILE)",
      [&] { tokenizer_ = load_tokenizer(*description_, request_.input); });
  if (!read) return;
  findings.note_tokenizer(tokenizer_ ? &*tokenizer_ : nullptr, description_->config.vocabulary);
}

void Examination::data() {
  constexpr size_t kLooked = 64;
  std::vector<Document> documents;
  BadLines bad;
  const bool read = findings.try_to("data", "see scute collect --help for what --data takes", [&] {
    documents = read_documents(request_.data, request_.input, &bad);
  });
  if (!read) return;
  for (const std::string& problem : bad.first) findings.note(Level::warning, "data", problem);
  const auto count = static_cast<int64_t>(documents.size());
  samples_ = std::min(count, kSamples);
  const bool few = count < kSamples;
  findings.note(few ? Level::warning : Level::ok, "data", count_of(count, "document"),
                few ? fmt::format("fewer than {} samples: --windows-per-document {} cuts more",
                                  kSamples, (kSamples + count - 1) / count)
                    : "");
  const bool cut = findings.try_to("tokens", "use the data's own tokenizer, or text", [&] {
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
  findings.note(
      mostly_short ? Level::warning : Level::ok, "tokens",
      fmt::format("{} in the first {}, {} of them shorter than {}", grouped(tokens),
                  count_of(looked, "document"), few_tokens, kSeqlen),
      mostly_short ? "short samples are fine for ranges, but --seqlen could be smaller" : "");
}

/// Whatever the evaluation takes of its files is looked at: all of each.
void Examination::overlap() {
  findings.try_to("overlap", "--data and --eval-data: files as for collect and eval", [&] {
    const Windows seen = calibration_windows(*description_, request_.data, WindowOptions(),
                                             request_.input, threads_);
    WindowHashes hashes(kSharedTokens);
    for (const Window& window : seen.windows) hashes.add(window.ids);
    for (const std::string& file : request_.eval_data) {
      const auto ids = read_stream(file, tokenizer_ ? &*tokenizer_ : nullptr, request_.input);
      findings.note_overlap(
          hashes.find(ids), "token",
          fmt::format("the {} that collect takes", count_of(std::ssize(seen.windows), "window")));
    }
  });
}

std::vector<int32_t> Examination::sample() const {
  for (const auto& ids : ids_) {
    if (static_cast<int64_t>(ids.size()) >= kSeqlen) return {ids.begin(), ids.begin() + kSeqlen};
  }
  return random_ids(kSeqlen, description_->config.vocabulary, 42);
}

/// One sample as collect runs it; everything else is arithmetic.
void Examination::one_sample() {
  const std::vector<Site> sites = observed_sites(model_->sites(), "");
  Recorder recorder(sites);
  double seconds = 0;
  const bool ran = findings.try_to("sample", "the model or the data is broken", [&] {
    const std::vector<int32_t> ids = sample();
    Recorder unused(sites);
    Run warm(&unused), run(&recorder);
    forward(*model_, warm, std::span(ids).first(16));
    seconds = seconds_of([&] { forward(*model_, run, std::span(ids).first(kSeqlen)); });
  });
  if (!ran) return;
  expected(recorder);
  const int threads = threads_.count();
  findings.note(Level::ok, "time",
                fmt::format("about {} for {} samples of {} tokens on {}",
                            duration_text(seconds * kSamples / threads), kSamples, kSeqlen,
                            count_of(threads, "thread")));
  findings.note_peak(memory_of_collection(threads));
}

/// What the sample says of a whole collection.
void Examination::expected(const Recorder& recorder) {
  const std::vector<std::string> silent = recorder.silent_sites();
  for (const SilentExperts& one : silent_experts(model_->config(), silent)) {
    findings.note(Level::ok, "experts", sentence_of(one, 1));
  }
  findings.note_silence(silent);
  findings.note_sample(recorder.statistics(), fmt::format("{} tokens", kSeqlen));
  findings.note_percentiles(recorder.statistics(), static_cast<double>(samples_));
  findings.note_disk(statistics_bytes(model_->sites(), RecorderOptions().fine));
}

/// As collect plans it for --memory (memory_plan.h).
int64_t Examination::memory_of_collection(int threads) const {
  const ModelDescription& model = *description_;
  const PassSizes pass{.samples = kSamples,
                       .tokens = kSeqlen,
                       .threads = threads,
                       .statistics = statistics_bytes(model_->sites(), RecorderOptions().fine),
                       .base = base_memory(model, request_.data)};
  return memory_of_whole_pass(
      sizes_of(model, read_weights(model), request_.compute, LanguageModel::Head::absent), pass);
}

int run(DoctorRequest& request, const Call&, Output& out) {
  Examination examination(request);
  examination.all();
  return examination.findings.show(request.json, out);
}

}  // namespace

Form language_doctor_form() {
  return form<DoctorRequest>(
      {.kind = ModelKind::language,
       .example = "scute doctor examples/tiny-mamba1 --data examples/text/calibration.jsonl",
       .of_no_kind = true});
}

}  // namespace scute::cli
