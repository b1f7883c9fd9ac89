#include "cli/collect_part.h"

#include <fmt/format.h>

#include <charconv>
#include <filesystem>
#include <string_view>

#include "cli/collecting.h"
#include "cli/terminal/interrupt.h"
#include "cli/terminal/output.h"
#include "cli/terminal/progress.h"
#include "cli/terminal/words.h"
#include "scute/base/error.h"
#include "scute/io/file.h"
#include "scute/recipe/part_folder.h"
#include "scute/recipe/statistics_io.h"

namespace scute::cli {
namespace {

namespace fs = std::filesystem;

/// "10min", "90s", "2h" or a number of samples.
CheckpointEvery parse_every(const std::string& text) {
  constexpr const char* kFlag = "--checkpoint-every";
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const std::string_view unit(end, static_cast<size_t>(text.data() + text.size() - end));
  const double seconds = unit == "s"                    ? 1
                         : unit == "min" || unit == "m" ? 60
                         : unit == "h"                  ? 3600
                                                        : 0;
  if (error == std::errc{} && seconds > 0 && value > 0 && value < 1e9) {
    return {value * seconds, std::nullopt};
  }
  if (unit.empty() && error == std::errc{}) {
    return {std::nullopt, parse_integer(kFlag, text, {.least = 1})};
  }
  throw UsageError(fmt::format(
      "{}: expected a time, 10min, or a number of samples, 64; found \"{}\"", kFlag, text));
}

std::string file_of(const PartFlags& flags, const std::string& out) {
  const auto shard = flags.shard();
  if (!shard) return out;
  return new_part_file(out, *shard);
}

/// Whether a file's own content says that scute wrote it: a part also says so as a copy that has
/// lost the record of its hash.
bool is_whole_part(const std::string& path) {
  try {
    return part_of(read_statistics(path), path).has_value();
  } catch (const Error&) {
    return false;
  }
}

std::string checkpoint_file(const Claim& claim) {
  return (fs::path(claim.checkpoint()) / "part.safetensors").string();
}

/// What to say of statistics that were interrupted and are in `file`.
std::string part_interrupted(const std::string& file, const StatisticsSet& statistics) {
  const auto part = part_of(statistics, file);
  return fmt::format(
      "scute: interrupted after {} of {}; {} holds those, and the same command goes on",
      grouped(part->finished), count_of(part->samples, "sample"), file);
}

/// There was nothing to do: `file` is the finished part.
void say_complete(Output& out, bool json, const std::string& file,
                  const StatisticsSet& statistics) {
  if (!json) {
    return out.write(part_text(statistics, 0) +
                     fmt::format("file       {}, there already and complete\n", file));
  }
  Json answer;
  answer["file"] = file;
  answer["part"] = part_json(statistics);
  answer["was_complete"] = true;
  out.write_json(answer);
}

}  // namespace

void declare_shard(Options& options, std::optional<Launched>& value, const std::string& does) {
  options.custom("--shard", "I/N", "",
                 does +
                     "; auto: as mpirun, Slurm, RANK and WORLD_SIZE or (auto/N) GNU parallel "
                     "number this process",
                 [&value](const std::string& given) { value = parse_shard(given, environment); });
}

void declare_checkpoint_every(Options& options, CheckpointEvery& value, const std::string& does) {
  options.custom("--checkpoint-every", "TIME|SAMPLES", "", does,
                 [&value](const std::string& given) { value = parse_every(given); });
}

std::string part_name(const std::optional<Launched>& launched) {
  return launched ? launched->shard.text() : "";
}

void say_launched(const std::optional<Launched>& launched) {
  if (!launched || launched->by.empty()) return;
  note(false, fmt::format("scute: part {} by {}", launched->shard.text(), launched->by));
}

void PartFlags::declare(Options& options) {
  declare_shard(options, launched,
                "measure part I of N, from 0, and write DIR/part-I-of-N.safetensors, --out DIR; "
                "scute merge DIR adds the parts up");
  declare_checkpoint_every(options, every,
                           "keep what is finished every 10min, or every 64 samples, beside --out: "
                           "after a run that died the same command goes on there");
}

std::optional<Shard> PartFlags::shard() const {
  return launched ? std::optional<Shard>(launched->shard) : std::nullopt;
}

void check_statistics_name(const std::string& out, const PartFlags& flags) {
  if (!flags.shard()) return check_ending("--out", out, {".safetensors", ".pt"});
  if (out.ends_with(".safetensors") || out.ends_with(".pt")) {
    throw UsageError(fmt::format(
        "--out: expected a folder for the parts of --shard, found the name of a file, \"{}\"",
        out));
  }
}

CollectionOutput::CollectionOutput(const PartFlags& flags, const std::string& out, bool force,
                                   const std::vector<std::string>& inputs)
    : every_(flags.every),
      file_(file_of(flags, out), force, inputs, job_before(environment), is_whole_part,
            Claim::Kept::gone_on) {
  request_.measures_anew = force;
  request_.shard = flags.shard();
  say_launched(flags.launched);
  const std::string kept = checkpoint_file(file_.claim());
  std::error_code error;
  const bool there = request_.shard && fs::exists(path(), error);
  if (fs::exists(kept, error)) {
    try {
      begun_ = read_statistics(kept);
      request_.begun_name = kept;
      request_.begun_was_kept = true;
    } catch (const Error& broken) {
      warn(fmt::format("{}; measured from the beginning", broken.what()));
    }
  }
  if (there && !begun_) {
    try {
      begun_ = read_statistics(path());
      request_.begun_name = path();
    } catch (const Error&) {
      if (!force) throw;
    }
  }
  request_.begun = begun_ ? &*begun_ : nullptr;
  if (!every_.any()) return;
  request_.due = [this](int64_t samples) { return is_due(samples); };
  request_.keep = [this](const StatisticsSet& statistics) { keep(statistics); };
}

bool CollectionOutput::is_due(int64_t samples) {
  const std::chrono::duration<double> time = std::chrono::steady_clock::now() - kept_;
  return (every_.samples && samples >= *every_.samples) ||
         (every_.seconds && time.count() >= *every_.seconds);
}

/// What cannot be kept does not end the work: what was kept before stands.
bool CollectionOutput::keep(const StatisticsSet& statistics) {
  kept_ = std::chrono::steady_clock::now();
  try {
    make_folder(file_.claim().checkpoint());
    write_statistics(checkpoint_file(file_.claim()), statistics);
    return true;
  } catch (const Error& error) {
    std::error_code holds_others;
    fs::remove(file_.claim().checkpoint(), holds_others);  // when nothing is in it
    warn(fmt::format("not kept: {}", error.what()));
    return false;
  }
}

void CollectionOutput::write(const StatisticsSet& statistics) {
  write_statistics(file_.written(), statistics);
  file_.publish();
}

int CollectionOutput::end(const Collected& result, int interrupted, const Job& job, Output& out,
                          const CollectionWords& words) {
  const HoldInterrupts hold;
  if (result.was_complete) {
    say_complete(out, job.json, path(), result.statistics);
    return kDone;
  }
  // A part is a file of its own, finished or not.
  if (result.interrupted && every_.any() && !request_.shard) {
    const bool kept = keep(result.statistics);
    note(false,
         kept ? part_interrupted("a checkpoint beside " + path(), result.statistics)
              : "scute: interrupted, and what was measured since the last checkpoint is lost");
    return interrupted;
  }
  write(result.statistics);
  if (words.beside) words.beside();
  job.answer(out, words.json, words.text);
  if (!request_.shard) {
    refuse_silence(path(), missed_sites(result.silent_sites, words.sites), words.about_silence);
  }
  if (!result.interrupted) return kDone;
  note(false, request_.shard ? part_interrupted(path(), result.statistics) : words.interrupted());
  return interrupted;
}

std::string part_text(const StatisticsSet& statistics, int64_t before) {
  std::string out;
  if (const auto part = part_of(statistics, "statistics")) {
    out = fmt::format("part       {}, {} of its {}", part->shard.text(), grouped(part->finished),
                      count_of(part->samples, "sample"));
  }
  if (before > 0) {
    out += fmt::format("{}{} finished before", out.empty() ? "went on   " : "; ",
                       count_of(before, "sample"));
  }
  return out.empty() ? out : out + "\n";
}

Json part_json(const StatisticsSet& statistics) {
  const auto part = part_of(statistics, "statistics");
  if (!part) return {};
  Json out;
  out["index"] = part->shard.index;
  out["of"] = part->shard.of;
  out["samples"] = part->samples;
  out["finished"] = part->finished;
  return out;
}

void warn_of_part(const StatisticsSet& statistics, const std::string& file) {
  const auto part = part_of(statistics, file);
  if (!part) return;
  warn(fmt::format("{} is part {} of a collection, {} of its {}; scute merge {} adds the parts up",
                   file, part->shard.text(), part->finished, count_of(part->samples, "sample"),
                   fs::path(file).parent_path().string()));
}

}  // namespace scute::cli
