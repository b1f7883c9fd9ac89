// Which share of the work this process has, as whoever started it says.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "scute/base/shard.h"
#include "scute/io/claim.h"

namespace scute::cli {

/// The value of an environment variable; nothing when it is not set.
using Lookup = std::function<std::optional<std::string>(const std::string& name)>;
std::optional<std::string> environment(const std::string& name);

struct Launched {
  Shard shard;
  std::string by;  ///< "Slurm's job array (SLURM_ARRAY_TASK_ID 3 of 0-7)"
};

/// From the first launcher that says so: Open MPI's or PMI's ranks, a job array of Slurm, tasks of
/// Slurm, RANK of WORLD_SIZE, GNU parallel's PARALLEL_SEQ. `count`: parts that there must be;
/// needed where the launcher does not know. Error naming the variables when there is none, when
/// they make no sense, or when two that say the same thing disagree.
Launched launched_shard(const Lookup& lookup, std::optional<int64_t> count);

/// A job that its scheduler began again (SLURM_RESTART_COUNT): whoever wrote before is gone, on
/// whatever node it was.
Claim::Before job_before(const Lookup& lookup);

/// "part 1/3: ", what an error of that share begins with; "" of no share.
std::string beginning_of_part(const std::string& part);

/// "I/N", "auto" or "auto/N".
Launched parse_shard(const std::string& text, const Lookup& lookup);

}  // namespace scute::cli
