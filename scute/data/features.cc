#include "scute/data/features.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <limits>
#include <map>
#include <numeric>
#include <span>
#include <system_error>
#include <utility>

#include "scute/base/error.h"
#include "scute/base/names.h"
#include "scute/data/feature_parts.h"
#include "scute/io/file.h"
#include "scute/io/npy.h"

namespace scute {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kStatistics = "stats_train.npz";
/// Some two million indices; a parsed one takes 40 bytes.
constexpr int64_t kLargestJson = int64_t{1} << 24;

constexpr std::array<std::pair<std::string_view, FeatureRole>, 4> kRoles = {
    {{"train", FeatureRole::train},
     {"eval", FeatureRole::eval},
     {"test", FeatureRole::test},
     {"auto", FeatureRole::automatic}}};

bool is_there(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

/// The sequences' names, in the order of their files' names.
std::vector<std::string> sequence_names(const std::string& path) {
  constexpr std::string_view kExpected =
      "a feature folder: json/NAME.json and npy/NAME.feats.npy, npy/NAME.xy.npy for each sequence";
  std::error_code problem;
  if (!fs::is_directory(path, problem)) {
    fail(path, kExpected, is_there(path) ? "a file" : "no such folder");
  }
  std::vector<std::string> files;
  fs::directory_iterator entry(fs::path(path) / "json", problem);
  if (problem) fail(path, kExpected, "json/: " + problem.message());
  for (; entry != fs::directory_iterator(); entry.increment(problem)) {
    const std::string file = entry->path().filename().string();
    // Hidden ones are other programs' notes.
    if (file.ends_with(".json") && !file.starts_with('.')) files.push_back(file);
    if (problem) break;
  }
  if (problem) fail(path, kExpected, "json/: " + problem.message());
  if (files.empty()) fail(path, kExpected, "no json/NAME.json");
  std::ranges::sort(files);
  for (std::string& file : files) file.resize(file.size() - std::string_view(".json").size());
  return files;
}

/// The folder that `path` is in, as written.
fs::path parent_of(const std::string& path) {
  fs::path folder = fs::path(path).lexically_normal();
  if (!folder.has_filename()) folder = folder.parent_path();  // it ended in a slash
  if (folder == "." || folder.filename() == "..") return folder / "..";
  return folder.has_parent_path() ? folder.parent_path() : fs::path(".");
}

FeatureNormalization read_normalization(const std::string& path, int64_t features) {
  const std::array<fs::path, 3> places = {fs::path(path) / "npy", fs::path(path), parent_of(path)};
  std::vector<std::string> looked;
  for (const fs::path& place : places) {
    const fs::path file = place / kStatistics;
    if (is_there(file)) {
      return parse_feature_statistics(read_npz(file.string()), features, file.string());
    }
    looked.push_back(file.string());
  }
  fail(path,
       fmt::format("the normalization of the training, {}; --no-normalize takes the features as "
                   "they are stored",
                   kStatistics),
       fmt::format("none of {}", joined(looked, ", ")));
}

Tensor read_array(const std::string& file, std::string_view what) {
  if (!is_there(file))
    fail(file, fmt::format("the {} that the json file is about", what), "no such file");
  return read_npy(file);
}

FeatureSequence read_sequence(const std::string& path, const std::string& name,
                              std::vector<int64_t> listed, const FeatureRequest& request) {
  const std::string arrays = (fs::path(path) / "npy" / name).string();
  const std::string frames_file = arrays + ".feats.npy";
  FeatureSequence out;
  out.name = name;
  out.frames = checked_frames(read_array(frames_file, "frames"), request.features, frames_file);
  const int64_t frames = out.frames.dim(0);
  if (listed.empty() && request.role == FeatureRole::automatic && frames > request.window) {
    listed.resize(static_cast<size_t>(frames - request.window));
    std::iota(listed.begin(), listed.end(), request.window);
  }
  check_window_ends(listed, request.window, frames,
                    (fs::path(path) / "json" / (name + ".json")).string());
  out.ends = std::move(listed);
  const std::string positions_file = arrays + ".xy.npy", times_file = arrays + ".ts.npy";
  out.positions =
      checked_positions(read_array(positions_file, "positions"), frames, out.ends, positions_file);
  if (is_there(times_file)) out.times = checked_times(read_npy(times_file), frames, times_file);
  return out;
}

int64_t listed_again(std::vector<int64_t> ends) {
  std::ranges::sort(ends);
  return ends.end() - std::unique(ends.begin(), ends.end());  // Clang 14 has no ranges::unique
}

/// "train: 70 windows, test: 0 windows": role → windows of the sequences that have it.
std::string describe(const std::map<std::string, int64_t>& roles) {
  std::vector<std::string> parts;
  for (const auto& [role, windows] : roles) {
    parts.push_back(fmt::format("{}: {} window{}",
                                role.empty() ? "without a role" : role.substr(0, 60), windows,
                                windows == 1 ? "" : "s"));
  }
  return joined(parts, ", ");
}

void check(const FeatureRequest& request) {
  if (request.features < 1 || request.window < 1) {
    fail("feature request", "at least one feature and a window of at least one frame",
         fmt::format("{} features and {} frames", request.features, request.window));
  }
}

int64_t windows_of_its_role(const FeatureIndex& index) {
  for (const auto& [name, role] : kRoles) {
    if (index.role == name) return static_cast<int64_t>(index.listed(role).size());
  }
  return static_cast<int64_t>(index.any.size());
}

/// Every half as a float: a table look-up takes a tenth of the time that widening takes.
const std::vector<float>& halves() {
  static const std::vector<float> table = [] {
    std::vector<float> t(1 << 16);
    for (size_t i = 0; i < t.size(); ++i) t[i] = to_float(f16{static_cast<uint16_t>(i)});
    return t;
  }();
  return table;
}

void widen_row(const Tensor& stored, int64_t t, std::span<float> row) {
  const auto first = static_cast<size_t>(t) * row.size();
  if (stored.dtype() == DType::f32) {
    std::ranges::copy(stored.values<float>().subspan(first, row.size()), row.begin());
    return;
  }
  const float* table = halves().data();
  const auto bits = stored.values<f16>().subspan(first, row.size());
  for (size_t d = 0; d < row.size(); ++d) row[d] = table[bits[d].bits];
}

/// NaN to 0 and infinities to ±1e6, counted.
NonFinite repair(std::span<float> row) {
  constexpr float kLargest = std::numeric_limits<float>::max(), kInfinite = 1e6F;
  NonFinite found;
  int odd = 0;  // without a branch, so that the loop is vectorized
  for (const float x : row) odd |= std::abs(x) <= kLargest ? 0 : 1;
  if (odd == 0) return found;
  for (float& x : row) {
    if (std::isfinite(x)) continue;
    ++(std::isnan(x) ? found.nans : found.infinities);
    x = std::isnan(x) ? 0.0F : std::copysign(kInfinite, x);
  }
  return found;
}

}  // namespace

FeatureRole parse_feature_role(std::string_view text) {
  for (const auto& [name, role] : kRoles) {
    if (name == text) return role;
  }
  fail("role", "train, eval, test or auto", fmt::format("\"{}\"", text));
}

std::string_view name_of(FeatureRole role) {
  return std::ranges::find(kRoles, role, &std::pair<std::string_view, FeatureRole>::second)->first;
}

int64_t FeatureFolder::windows() const {
  int64_t count = 0;
  for (const FeatureSequence& sequence : sequences) {
    count += static_cast<int64_t>(sequence.ends.size());
  }
  return count;
}

FeatureFolder read_feature_folder(const std::string& path, const FeatureRequest& request) {
  check(request);
  FeatureFolder out{
      .path = path, .role = request.role, .normalization = {}, .sequences = {}, .remarks = {}};
  std::map<std::string, int64_t> roles;
  for (const std::string& name : sequence_names(path)) {
    const std::string file = (fs::path(path) / "json" / (name + ".json")).string();
    const FeatureIndex index = parse_feature_index(read_text(file, kLargestJson), file);
    roles[index.role] += windows_of_its_role(index);
    const std::vector<int64_t>& listed = index.listed(request.role);
    if (listed.empty() && request.role != FeatureRole::automatic) continue;
    FeatureSequence sequence = read_sequence(path, name, listed, request);
    if (const int64_t again = listed_again(sequence.ends); again > 0) {
      out.remarks.push_back(fmt::format("{} lists {} window{} twice: counted twice", file, again,
                                        again == 1 ? "" : "s"));
    }
    if (!sequence.ends.empty()) out.sequences.push_back(std::move(sequence));
  }
  if (out.sequences.empty() && request.role == FeatureRole::automatic) {
    fail(path,
         fmt::format("a sequence of more than {} frames, the window of the model", request.window),
         "none");
  }
  if (out.sequences.empty()) {
    fail(path,
         fmt::format("windows of role {}; choose a role that has some", name_of(request.role)),
         describe(roles));
  }
  if (request.normalize) out.normalization = read_normalization(path, request.features);
  return out;
}

Tensor normalized_frames(const FeatureSequence& sequence,
                         const std::optional<FeatureNormalization>& normalization, NonFinite& found,
                         const Threads& threads) {
  const Tensor stored =
      sequence.frames.dtype() == DType::f64 ? sequence.frames.to_f32() : sequence.frames;
  const auto features = static_cast<size_t>(stored.dim(stored.rank() - 1));
  if (normalization &&
      std::min(normalization->mean.size(), normalization->deviation.size()) != features) {
    fail(normalization->path, fmt::format("{} features", features),
         fmt::format("{}", normalization->mean.size()));
  }
  Tensor frames(DType::f32, stored.shape());
  const auto rows = frames.mutable_matrix<float>();
  constexpr int64_t kPiece = 64;  // rows that one thread takes at a time
  const int64_t pieces = (rows.rows + kPiece - 1) / kPiece;
  std::vector<NonFinite> of_piece(static_cast<size_t>(pieces));
  threads.for_each(pieces, [&](int64_t piece, int) {
    NonFinite& own = of_piece[static_cast<size_t>(piece)];
    for (int64_t t = piece * kPiece; t < std::min(rows.rows, (piece + 1) * kPiece); ++t) {
      const std::span row(rows.row(t), features);
      widen_row(stored, t, row);
      if (normalization) {
        const float* mean = normalization->mean.data();
        const float* deviation = normalization->deviation.data();
        for (size_t d = 0; d < features; ++d) row[d] = (row[d] - mean[d]) / deviation[d];
      }
      const NonFinite odd = repair(row);
      own.nans += odd.nans;
      own.infinities += odd.infinities;
    }
  });
  for (const NonFinite& own : of_piece) {
    found.nans += own.nans;
    found.infinities += own.infinities;
  }
  sequence.frames.give_back();  // of many recordings they would be all in memory in the end
  return frames;
}

}  // namespace scute
