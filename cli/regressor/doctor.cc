// scute doctor on a regressor: machine, checkpoint, features, and how long a collection takes.
#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "cli/doctor.h"
#include "cli/form.h"
#include "cli/leftovers.h"
#include "cli/regressor/calibration_flags.h"
#include "cli/terminal/machine.h"
#include "cli/terminal/words.h"
#include "scute/data/overlap.h"
#include "scute/regressor/predict.h"

namespace scute::cli {
namespace {

struct RegressorDoctorRequest {
  std::string model;
  FeatureFlags features;
  LeftoverFlags leftovers;
  int threads = 0;
  bool json = false;

  void declare(Options& options) {
    options.model(model);
    features.declare(options);
    options.machine(threads);
    leftovers.declare(options);
    options.json(json);
  }
};

class RegressorExamination {
 public:
  explicit RegressorExamination(const RegressorDoctorRequest& request)
      : request_(request), threads_(request.threads) {}

  int all(Output& out) {
    findings_.note_machine();
    checkpoint();
    if (checkpoint_ && !request_.features.root.empty()) {
      for (const FeatureRole role : {FeatureRole::train, FeatureRole::eval, FeatureRole::test}) {
        features(role);
      }
    }
    if (checkpoint_ && measured_) time();
    request_.leftovers.note(findings_);
    return findings_.show(request_.json, out);
  }

 private:
  void checkpoint();
  void features(FeatureRole role);
  void overlap(const FeatureFolder& scored);
  void time();

  const RegressorDoctorRequest& request_;
  Threads threads_;
  Findings findings_;
  std::optional<RegressorCheckpoint> checkpoint_;
  std::optional<FeatureFolder> measured_;  ///< the train role
};

void RegressorExamination::checkpoint() {
  const bool read = findings_.try_to("model", "give a regressor's checkpoint, .pt", [&] {
    checkpoint_ = read_regressor_checkpoint(request_.model);
  });
  if (!read) return;
  const RegressorConfig& c = checkpoint_->config;
  findings_.note(Level::ok, "model",
                 fmt::format("{} variant, Din {}, K {}, {} blocks of width {}",
                             c.variant == RegressorConfig::Variant::slim ? "slim" : "origin",
                             c.features, c.window, c.layers, c.width));
  findings_.note_remarks(checkpoint_->remarks);
  findings_.note(Level::ok, "weights",
                 fmt::format("complete and finite; {} packed",
                             bytes_text(build_regressor(*checkpoint_).bytes())));
  const bool quantized = checkpoint_->formats || !checkpoint_->scales.empty();
  const char* origin = checkpoint_->plan ? "its plan inside" : "no plan inside";
  findings_.note(
      Level::ok, "scales",
      !quantized ? "none: a float checkpoint"
      : checkpoint_->formats
          ? fmt::format("of every value, {}", origin)
          : fmt::format("of {}, {}", count_of(std::ssize(checkpoint_->scales), "layer"), origin));
}

/// Shapes, windows and what is no number, of one role. Only train and eval must be there.
void RegressorExamination::features(FeatureRole role) {
  const std::string subject(name_of(role));
  std::optional<FeatureFolder> folder;
  const auto look = [&] {
    folder = read_feature_folder(request_.features.root,
                                 {role, checkpoint_->config.features, checkpoint_->config.window,
                                  !request_.features.no_normalize});
  };
  if (role == FeatureRole::test) {
    try {
      look();
    } catch (const Error& error) {
      return findings_.note(Level::warning, subject, error.what(),
                            "--target test cannot be scored; train and eval are enough");
    }
  } else if (!findings_.try_to(subject, "docs/formats.md: Regressor says what the folder holds",
                               look)) {
    return;
  }
  for (const std::string& remark : folder->remarks) {
    findings_.note(Level::warning, subject, remark, "list each window once");
  }
  int64_t frames = 0;
  NonFinite found;
  for (const FeatureSequence& sequence : folder->sequences) {
    frames += sequence.frames.dim(0);
    normalized_frames(sequence, folder->normalization, found, threads_);
  }
  const int64_t wrong = found.nans + found.infinities;
  findings_.note(
      wrong > 0 ? Level::warning : Level::ok, subject,
      fmt::format("{}, {} frames, {}, {}", count_of(std::ssize(folder->sequences), "sequence"),
                  grouped(frames), count_of(folder->windows(), "window"),
                  wrong == 0 ? "all values finite"
                             : fmt::format("{} NaN and {} infinite values", grouped(found.nans),
                                           grouped(found.infinities))),
      wrong > 0 ? "they are taken as 0 and 1e6; look at the recording" : "");
  if (role == FeatureRole::train) {
    measured_ = std::move(folder);
  } else if (measured_) {
    overlap(*folder);
  }
}

/// Windows of this role that the train role, which calibration sees, has too: the same K frames,
/// in whatever recording they lie.
void RegressorExamination::overlap(const FeatureFolder& scored) {
  const int64_t window = checkpoint_->config.window;
  const auto units_of = [](const FeatureSequence& sequence) {
    const auto bytes = sequence.frames.bytes();
    const auto frames = static_cast<size_t>(std::max<int64_t>(sequence.frames.dim(0), 1));
    const size_t size = bytes.size() / frames;
    std::vector<uint64_t> out;
    for (size_t at = 0; size > 0 && at + size <= bytes.size(); at += size) {
      out.push_back(unit_of({reinterpret_cast<const char*>(bytes.data()) + at, size}));
    }
    return out;
  };
  /// As windows that end before `t` of each recording.
  const auto windows_of = [&](const FeatureFolder& folder, const auto& use) {
    for (const FeatureSequence& sequence : folder.sequences) {
      const std::vector<uint64_t> units = units_of(sequence);
      for (const int64_t end : sequence.ends) {
        use(std::span(units).subspan(static_cast<size_t>(end - window),
                                     static_cast<size_t>(window)));
      }
    }
  };
  WindowHashes seen(window);
  windows_of(*measured_, [&](std::span<const uint64_t> units) { seen.add(units); });
  Overlap found{.units = 0, .shared = 0, .length = 1};
  windows_of(scored, [&](std::span<const uint64_t> units) {
    ++found.units;
    found.shared += seen.find(units).shared > 0 ? 1 : 0;
  });
  findings_.note_overlap(found, std::string(name_of(scored.role)) + " window", "train");
}

/// Some windows as collect measures them; everything else is arithmetic.
void RegressorExamination::time() {
  constexpr int64_t kLooked = 64;
  const int64_t wanted = std::min(measured_->windows(),
                                  MeasuredWindowFlags::kBatches * MeasuredWindowFlags::kBatchSize);
  const int64_t looked = std::min(kLooked, wanted);
  double seconds = 0;
  const bool ran = findings_.try_to("sample", "the checkpoint or the features are broken", [&] {
    const Regressor model = build_regressor(*checkpoint_);
    RegressorStatistics seen;
    seconds = seconds_of([&] { seen = measure_regressor(model, *measured_, looked, threads_); });
    findings_.note_percentiles(seen, static_cast<double>(wanted) / static_cast<double>(looked));
  });
  if (!ran || looked == 0) return;
  findings_.note(Level::ok, "time",
                 fmt::format("about {} to collect {} on {}",
                             duration_text(seconds * static_cast<double>(wanted) /
                                           static_cast<double>(looked)),
                             count_of(wanted, "window"), count_of(threads_.count(), "thread")));
}

int run(RegressorDoctorRequest& request, const Call&, Output& out) {
  return RegressorExamination(request).all(out);
}

}  // namespace

Form regressor_doctor_form() {
  return form<RegressorDoctorRequest>(
      {.kind = ModelKind::regressor,
       .summary = "check machine, checkpoint and features; estimate time",
       .example = "scute doctor tests/golden/regressor/slim.pt --feat-root "
                  "tests/golden/regressor_features"});
}

}  // namespace scute::cli
