// Text that a model makes as Python asks for it: pulled, where the library pushes.
#pragma once

#include <condition_variable>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "scute/evaluate/generate.h"
#include "scute/models/language/language_model.h"
#include "scute/text/tokenizer.h"

namespace scute::python {

/// What is generated, with everything it uses.
struct GenerationJob {
  std::shared_ptr<const void> owner;  ///< keeps model and tokenizer alive
  const LanguageModel* model = nullptr;
  const Tokenizer* tokenizer = nullptr;
  Tensor before;  ///< vectors before the prompt, rows × D; rank 1: none
  std::vector<int32_t> prompt;
  GenerateOptions options;
  Threads threads;
};

/// Begins with the first next(), on a thread of its own that waits for each further one.
class GenerationValue {
 public:
  explicit GenerationValue(GenerationJob job);
  ~GenerationValue();
  GenerationValue(const GenerationValue&) = delete;
  GenerationValue& operator=(const GenerationValue&) = delete;

  /// The next whole characters; nothing at the end. With the GIL, which is released while it waits;
  /// throws what a signal's handler raises, and ends then.
  std::optional<std::string> next();
  /// So far.
  std::vector<int32_t> ids() const;
  /// "end-of-text" or "max-tokens"; empty until then.
  std::string stopped() const;
  /// Ends it.
  void close();

 private:
  enum class Turn { caller, maker, over };
  void make();
  /// Whether to go on.
  bool hand_over(std::string text);
  bool wait_for_maker();

  GenerationJob job_;
  mutable std::mutex guard_;
  std::condition_variable turned_;
  Turn turn_ = Turn::caller;
  bool stop_ = false;
  std::string text_, stopped_;
  std::vector<int32_t> ids_;
  std::exception_ptr thrown_;
  std::thread thread_;
};

}  // namespace scute::python
