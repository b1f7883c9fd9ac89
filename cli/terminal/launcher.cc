#include "cli/terminal/launcher.h"

#include <fmt/format.h>

#include <charconv>
#include <cstdlib>
#include <string_view>

#include "cli/terminal/options.h"

namespace scute::cli {
namespace {

constexpr const char* kFlag = "--shard";

[[noreturn]] void refuse(const std::string& expected, const std::string& found) {
  throw UsageError(fmt::format("{}: expected {}, found {}", kFlag, expected, found));
}

/// Nothing when the variable is not set or empty.
std::optional<int64_t> number(const Lookup& lookup, const std::string& name) {
  const auto text = lookup(name);
  if (!text || text->empty()) return std::nullopt;
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), value);
  if (error != std::errc{} || end != text->data() + text->size() || value < 0) {
    refuse("a number ≥ 0 in " + name, fmt::format("\"{}\"", *text));
  }
  return value;
}

/// A rank and how many there are, by these two variables; nothing when neither is set.
std::optional<Launched> ranks(const Lookup& lookup, const std::string& rank,
                              const std::string& size) {
  const auto index = number(lookup, rank), of = number(lookup, size);
  if (!index && !of) return std::nullopt;
  if (!index || !of) {
    refuse(fmt::format("both {} and {}", rank, size), index ? rank + " alone" : size + " alone");
  }
  if (*index >= *of) {
    refuse(fmt::format("{} below {}", rank, size), fmt::format("{} and {}", *index, *of));
  }
  return Launched{{*index, *of}, fmt::format("{} {} of {} {}", rank, *index, size, *of)};
}

/// Of MPI: both kinds of variables are set by some launchers, and must agree then.
std::optional<Launched> of_mpi(const Lookup& lookup) {
  const auto open = ranks(lookup, "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE");
  const auto pmi = ranks(lookup, "PMI_RANK", "PMI_SIZE");
  if (open && pmi && open->shard != pmi->shard) {
    refuse("MPI ranks that agree", fmt::format("{} and {}", open->by, pmi->by));
  }
  return open ? open : pmi;
}

/// An array whose numbers follow each other from the lowest: else a share would be nobody's.
std::optional<Launched> of_slurm_array(const Lookup& lookup) {
  const auto id = number(lookup, "SLURM_ARRAY_TASK_ID");
  if (!id) return std::nullopt;
  const auto least = number(lookup, "SLURM_ARRAY_TASK_MIN"),
             most = number(lookup, "SLURM_ARRAY_TASK_MAX"),
             count = number(lookup, "SLURM_ARRAY_TASK_COUNT"),
             step = number(lookup, "SLURM_ARRAY_TASK_STEP");
  if (!least || !count) {
    refuse("SLURM_ARRAY_TASK_MIN and _COUNT beside SLURM_ARRAY_TASK_ID", "none");
  }
  const bool gaps = most && *most - *least + 1 != *count;
  if (step.value_or(1) != 1 || gaps) {
    refuse("a job array whose numbers follow each other, as --array=0-7",
           gaps ? fmt::format("{} numbers from {} to {}; give --shard I/N by hand for some of them",
                              *count, *least, *most)
                : fmt::format("a step of {}", *step));
  }
  const int64_t index = *id - *least;
  if (index < 0 || index >= *count) {
    refuse(fmt::format("SLURM_ARRAY_TASK_ID from {} to {}", *least, *least + *count - 1),
           fmt::format("{}", *id));
  }
  return Launched{{index, *count},
                  fmt::format("Slurm's job array, task {} from {} of {}", *id, *least, *count)};
}

std::optional<Launched> of_slurm_tasks(const Lookup& lookup) {
  if (number(lookup, "SLURM_NTASKS").value_or(0) <= 1) return std::nullopt;
  return ranks(lookup, "SLURM_PROCID", "SLURM_NTASKS");
}

std::optional<Launched> of_parallel(const Lookup& lookup, std::optional<int64_t> count) {
  const auto sequence = number(lookup, "PARALLEL_SEQ");
  if (!sequence) return std::nullopt;
  if (!count) {
    refuse("auto/N under GNU parallel, which does not say how many jobs there are", "auto");
  }
  if (*sequence < 1 || *sequence > *count) {
    refuse(fmt::format("PARALLEL_SEQ from 1 to {}", *count), fmt::format("{}", *sequence));
  }
  return Launched{{*sequence - 1, *count}, fmt::format("PARALLEL_SEQ {}", *sequence)};
}

}  // namespace

std::optional<std::string> environment(const std::string& name) {
  const char* value = std::getenv(name.c_str());
  return value == nullptr ? std::nullopt : std::optional<std::string>(value);
}

Launched launched_shard(const Lookup& lookup, std::optional<int64_t> count) {
  const std::optional<Launched> mpi = of_mpi(lookup);
  // One process alone is no share: a task of a job array may have an MPI rank of its own.
  std::optional<Launched> out = mpi && mpi->shard.of > 1 ? mpi : std::nullopt;
  if (!out) out = of_slurm_array(lookup);
  if (!out) out = of_slurm_tasks(lookup);
  if (!out) out = ranks(lookup, "RANK", "WORLD_SIZE");
  if (!out) out = of_parallel(lookup, count);
  if (!out) out = mpi;
  if (!out) {
    refuse(
        "a launcher that numbers its processes: mpirun, a Slurm job array or tasks, "
        "RANK and WORLD_SIZE, or PARALLEL_SEQ with auto/N",
        "none in the environment; give I/N by hand");
  }
  if (count && out->shard.of != *count) {
    refuse(fmt::format("{} parts, as auto/{} says", *count, *count),
           fmt::format("{} by {}; give I/N by hand", out->shard.of, out->by));
  }
  return *out;
}

Claim::Before job_before(const Lookup& lookup) {
  return number(lookup, "SLURM_RESTART_COUNT").value_or(0) > 0 ? Claim::Before::gone
                                                               : Claim::Before::unknown;
}

Launched parse_shard(const std::string& text, const Lookup& lookup) {
  constexpr std::string_view kAuto = "auto";
  if (!text.starts_with(kAuto)) return {Shard::parse(text, kFlag), ""};
  const std::string rest = text.substr(kAuto.size());
  if (rest.empty()) return launched_shard(lookup, std::nullopt);
  if (rest.front() != '/') refuse("I/N, auto or auto/N", fmt::format("\"{}\"", text));
  return launched_shard(lookup, parse_integer(kFlag, rest.substr(1), {.least = 1}));
}

std::string beginning_of_part(const std::string& part) {
  return part.empty() ? "" : "part " + part + ": ";
}

}  // namespace scute::cli
