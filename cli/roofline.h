// scute bench --roofline: what this machine can do at best, and what share of it a figure reaches.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cli/terminal/options.h"
#include "scute/base/json.h"
#include "scute/models/model_work.h"

namespace scute::cli {

/// Of several short runs.
struct Rate {
  double median = 0, least = 0, most = 0;  ///< a second
};

/// Rates of products (multiply-adds), of reading (bytes) and of exponentials.
struct Roofline {
  enum class Limit { f32, bf16, int8, read, exp };
  struct Row {
    Limit limit;
    std::string by;  ///< the loop or kernel
    int threads;
    Rate rate;
  };
  int threads = 0;           ///< of the rows that limit; others are below
  int64_t read_bytes = 0;    ///< read in a run, several times the last cache
  int64_t cached_bytes = 0;  ///< of the last cache; 0: unknown
  std::vector<Row> rows;

  /// The best run of any loop or kernel on all threads: what else runs here only takes from it.
  double best(Limit limit) const;
};
/// threads: 0 is all. Some seconds.
Roofline measure_roofline(int threads, bool quiet);
Json as_json(const Roofline& roofline);
std::string as_text(const Roofline& roofline);

/// Part of what a figure stands for: products and reading, which can go on at the same time.
struct Work {
  ModelWork products;
  int64_t bytes = 0;  ///< weights and state that must be read once
  int64_t times = 1;
};
/// The least time that this machine could need for the parts one after the other. What fits into
/// the last cache is not read from memory, so that its products alone limit it.
struct TimeLimit {
  double seconds = 0;
  bool memory = false;  ///< most of it is reading
};
TimeLimit time_limit(const std::vector<Work>& parts, const Roofline& roofline);

/// Adds to a figure's object what work it stands for and, with a roofline, its share of the limit.
void add_work(Json& figure, const std::vector<Work>& parts, double seconds,
              const Roofline* roofline);
/// The same as text without line end; a second line begins after `indent` blanks.
std::string work_text(const std::vector<Work>& parts, double seconds, const Roofline* roofline,
                      size_t indent);

/// --roofline, and the note that says how shares come about.
void declare_roofline(Options& options, bool& value);

}  // namespace scute::cli
