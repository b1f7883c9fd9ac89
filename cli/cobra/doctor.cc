// scute doctor for Cobra: its parts, the pictures, and what a collection will take.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <optional>

#include "cli/cobra/folder_size.h"
#include "cli/doctor.h"
#include "cli/form.h"
#include "cli/leftovers.h"
#include "cli/terminal/machine.h"
#include "cli/terminal/words.h"
#include "scute/base/names.h"
#include "scute/base/threads.h"
#include "scute/cobra/collect.h"
#include "scute/cobra/matrices.h"
#include "scute/cobra/picture_reader.h"
#include "scute/cobra/picture_texts.h"
#include "scute/data/overlap.h"
#include "scute/data/pictures.h"
#include "scute/io/file.h"
#include "scute/observe/recorder.h"

namespace scute::cli {
namespace {

struct CobraDoctorRequest {
  std::string model, images, eval_images;
  LeftoverFlags leftovers;
  TextOptions text;
  Compute compute = Compute::f32;
  int threads = 0;
  bool no_random_text = false, json = false;

  void declare(Options& options) {
    options.model(model);
    options.images(images);
    options.text("--eval-images", eval_images, "DIR",
                 "what the model will be scored on: whether --images holds the same files");
    options.last_reads();
    options.prompts(text.prompts, no_random_text, text.length);
    options.compute(compute);
    options.text_input(text.input);
    options.machine(threads);
    leftovers.declare(options);
    options.json(json);
    options.only_with({"--eval-images"}, "--images DIR");
  }
  void check() { text.random = !no_random_text; }
};

/// Looks at one thing after the other and notes what it finds.
class CobraExamination {
 public:
  explicit CobraExamination(const CobraDoctorRequest& request)
      : request_(request), threads_(request.threads) {}

  Findings findings;

  void all() {
    findings.note_machine();
    request_.leftovers.note(findings);
    model();
    if (!description_) return;
    tokenizer();
    if (!request_.images.empty()) pictures();
    if (!request_.eval_images.empty()) overlap();
    texts();
    weights();
    if (model_) one_picture();
  }

 private:
  void model();
  void weights();
  void tokenizer();
  void pictures();
  void overlap();
  void texts();
  void one_picture();

  const CobraDoctorRequest& request_;
  Threads threads_;
  std::optional<CobraDescription> description_;
  std::optional<CobraModel> model_;
  std::vector<Tensor> pixels_;  ///< of the first picture that can be read
  std::vector<int32_t> ids_;    ///< of its text
  int64_t readable_ = 0;
};

void CobraExamination::model() {
  const bool read = findings.try_to("model", "see docs/cobra.md for what a Cobra's folder holds",
                                    [&] { description_ = describe_cobra(request_.model); });
  if (!read) return;
  const CobraConfig& config = description_->config;
  for (const VisionConfig& tower : config.towers) {
    findings.note(
        Level::ok, "tower",
        fmt::format("{}: {} blocks of width {}, pictures of {} × {}, {} patches", tower.bucket,
                    tower.depth, tower.width, tower.image, tower.image, tower.patches()));
  }
  findings.note(
      Level::ok, "projector",
      fmt::format("{} columns to {} vectors of width {}", config.projector_config().vision,
                  config.projector_config().tokens(), config.language.width));
  findings.note(
      Level::ok, "llm",
      fmt::format("{}, {} layers of width {}, vocabulary {}",
                  config.language.mixer == MixerKind::mamba1 ? "Mamba-1" : "Mamba-2",
                  config.language.layers, config.language.width, config.language.vocabulary));
  findings.note_description(description_->language);
  findings.note_remarks(description_->remarks);
  if (!description_->low_bit) return;
  std::string formats;
  const Json& scute = description_->json.at("scute", "config.json");
  for (const auto& [bucket, format] : scute.at("formats", "config.json").as_object("formats")) {
    formats += fmt::format("{}{} {}", formats.empty() ? "" : ", ", bucket, format.as_string(""));
  }
  findings.note(Level::ok, "low-bit", formats);
}

void CobraExamination::tokenizer() {
  std::optional<Tokenizer> tokenizer;
  const bool read = findings.try_to(
      "tokenizer", "use the tokenizer.json that belongs to this model (--tokenizer FILE)",
      [&] { tokenizer = load_tokenizer(description_->language, request_.text.input); });
  if (!read) return;
  findings.note_tokenizer(tokenizer ? &*tokenizer : nullptr,
                          description_->config.language.vocabulary);
}

void CobraExamination::pictures() {
  std::optional<PictureReader> reader;
  const bool listed = findings.try_to("pictures", "give a folder of pictures (--images DIR)", [&] {
    reader.emplace(*description_, request_.images);
    // Every one is decoded: a collection would meet the broken ones hours later.
    while (reader->left() > 0) {
      for (PictureReader::Loaded& one : reader->next_few(reader->left(), threads_)) {
        if (pixels_.empty()) pixels_ = std::move(one.pixels);
      }
    }
    reader->require_one();
  });
  if (!listed) return;
  readable_ = std::ssize(reader->used());
  const auto broken = std::ssize(reader->corrupt());
  findings.note(
      broken > 0 ? Level::warning : Level::ok, "pictures",
      fmt::format(
          "{} can be read{}", count_of(readable_, "picture"),
          broken > 0 ? fmt::format(", {} not: {}", broken, first_few(reader->corrupt())) : ""),
      broken > 0 ? "collect passes over them; replace or remove them" : "");
}

/// A picture is the same when its file is.
void CobraExamination::overlap() {
  findings.try_to("overlap", "--images and --eval-images: folders of pictures", [&] {
    const auto units_of = [](const std::string& folder) {
      std::vector<uint64_t> out;
      for (const std::string& file : list_pictures(folder)) out.push_back(unit_of(hash_file(file)));
      return out;
    };
    WindowHashes seen(1);
    seen.add(units_of(request_.images));
    findings.note_overlap(seen.find(units_of(request_.eval_images)), "picture", request_.images);
  });
}

void CobraExamination::texts() {
  const int64_t pictures = std::max<int64_t>(readable_, 1);
  findings.try_to("text", "see scute collect --help for what --prompts takes", [&] {
    const PictureTexts texts(*description_, request_.text, pictures);
    const auto first = texts.of(0);
    ids_.assign(first.begin(), first.end());
    if (request_.text.prompts.empty()) return;
    findings.note(Level::ok, "text",
                  fmt::format("{} with the first picture", count_of(std::ssize(ids_), "token")));
  });
}

void CobraExamination::weights() {
  const bool loaded = findings.try_to("weights", "download or convert the checkpoint again", [&] {
    model_.emplace(
        load_cobra(*description_, request_.compute, CobraModel::Parts::vision_and_language));
  });
  if (!loaded) return;
  findings.note(Level::ok, "weights",
                fmt::format("complete; {} packed for {}, the head left out",
                            bytes_text(model_->size().total()), compute_name(request_.compute)));
}

/// One picture as collect runs it; everything else is arithmetic.
void CobraExamination::one_picture() {
  CobraCollectOptions collect;
  collect.targets = cobra_buckets(description_->config);
  Recorder recorder(cobra_collection_sites(*description_, collect));
  Run run(&recorder);
  double seconds = 0;
  const CobraConfig& config = description_->config;
  const bool ran = findings.try_to("sample", "the model or the picture is broken", [&] {
    for (size_t i = pixels_.size(); i < config.towers.size(); ++i) {
      const int64_t image = config.towers[i].image;
      pixels_.emplace_back(DType::f32, Shape{3, image * image});
      std::ranges::fill(pixels_.back().mutable_values<float>(), 0.5F);
    }
    const auto start = std::chrono::steady_clock::now();
    const auto rows = run.matrix(model_->picture_tokens(), model_->width());
    model_->picture(run, pixel_views(pixels_), rows);
    const LanguageModel& language = model_->language();
    State state = language.new_state();
    language.hidden(run, rows, ids_, state,
                    run.matrix(rows.rows + std::ssize(ids_), model_->width()));
    seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  });
  if (!ran) return;
  const int64_t per_thread =
      run.arena().bytes() +
      findings.note_sample(recorder.statistics(),
                           fmt::format("1 picture and {}", count_of(std::ssize(ids_), "token")));
  findings.note_silence(recorder.silent_sites());
  const int64_t pictures = readable_ > 0 ? std::min(readable_, collect.batches * collect.batch_size)
                                         : collect.batches * collect.batch_size;
  findings.note_percentiles(recorder.statistics(), static_cast<double>(pictures));
  const int threads = threads_.count();
  findings.note(Level::ok, "time",
                fmt::format("about {} for {}, llm's layers too, on {}",
                            duration_text(seconds * static_cast<double>(pictures) / threads),
                            count_of(pictures, "picture"), count_of(threads, "thread")));
  findings.note_peak(peak_memory() + (threads - 1) * per_thread);
}

int run(CobraDoctorRequest& request, const Call&, Output& out) {
  CobraExamination examination(request);
  examination.all();
  return examination.findings.show(request.json, out);
}

}  // namespace

Form cobra_doctor_form() {
  return form<CobraDoctorRequest>(
      {.kind = ModelKind::cobra,
       .summary = "check machine, towers, projector, language model, pictures; estimate time and "
                  "memory",
       .example = "scute doctor tests/golden/cobra/model --images tests/golden/cobra/pictures"});
}

}  // namespace scute::cli
