// Scoring: the files a model is scored on, read and checked before the model is loaded, and every
// item's score.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "scute/evaluate/last_word.h"
#include "scute/evaluate/perplexity.h"
#include "scute/evaluate/score.h"
#include "scute/language/model_folder.h"
#include "scute/models/language/layered_model.h"
#include "scute/recipe/measure.h"

namespace scute {

/// What a model is scored on.
struct ScoreOptions {
  std::string perplexity, last_word;  ///< files; empty: not scored
  PerplexityOptions windows;          ///< of perplexity
  std::optional<int64_t> max_items;   ///< passages at most
  int64_t max_context = 2048;         ///< of a passage
  TextInput input = {};

  bool empty() const { return perplexity.empty() && last_word.empty(); }
};

/// What there is to score.
struct ScoreWork {
  std::vector<int32_t> stream;
  std::vector<LastWordItem> items;
  BadLines bad_lines = {};  ///< of both files

  /// Windows of the stream that will be scored.
  int64_t windows(const PerplexityOptions& options) const;
};

/// Error on files that cannot be read or hold too little.
ScoreWork read_score_work(const ModelDescription& model, const ScoreOptions& options);

/// The scores that were asked for.
struct Scores {
  std::optional<PerplexityResult> perplexity;
  std::optional<LastWordResult> last_word;
  /// Of the first item whose score is not finite: which it is, and where its first such value
  /// arises in the model; empty: all are finite.
  std::string not_finite;
};

/// What a model can be scored by.
enum class ScoreTask { perplexity, last_word };
/// Called with done = 0 when a task begins, then from any thread.
using ScoreProgress = std::function<void(ScoreTask task, int64_t done, int64_t total)>;

/// `kept`: of the items that it knows or wants alone; `whose` goes before the names of tasks.
Scores score(const LanguageModel& model, const ScoreWork& work, const ScoreOptions& options,
             const Threads& threads, const ScoreProgress& progress = {},
             const KeptItems& kept = KeptItems(), const std::string& whose = "");
/// The same to the last bit, while one layer of the model, or its head, is in memory. Error where
/// options.windows.feed is one token after the other, which takes all layers for each.
Scores score_by_layers(LayeredModel& model, const ScoreWork& work, const ScoreOptions& options,
                       const Threads& threads, const ByLayers& how,
                       const ScoreProgress& progress = {}, const KeptItems& kept = KeptItems(),
                       const std::string& whose = "");

/// Everything that decides the scores of the items, of a model that is named by its hash. Equal
/// text, equal scores.
Json scoring_key(const ModelDescription& model, const ScoreOptions& options,
                 const Execution& execution);

/// SHA-256 of what a model was scored on and with.
struct ScoredFiles {
  std::string perplexity, last_word, tokenizer;
};

/// The named metrics of these scores with their items: perplexity, then of last words.
Score named_score(const Scores& scores, const ScoreOptions& options, const ScoredFiles& sha256);

/// One JSON object a line and item: {"kind": "window", "index", "start", "predictions", "nll"} and
/// {"kind": "last_word", "index", "predictions", "nll", "hit"}.
std::string items_text(const Scores& scores, const std::vector<LastWordItem>& items);

}  // namespace scute
