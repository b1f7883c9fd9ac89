#include <algorithm>
#include <exception>
#include <numeric>
#include <span>

#include "scute/base/error.h"
#include "scute/base/hash.h"
#include "scute/base/random.h"
#include "scute/data/documents.h"

namespace scute {
namespace {

void require_at_least(int64_t value, int64_t least, std::string_view name) {
  if (value < least) fail(name, "at least " + std::to_string(least), std::to_string(value));
}

void require_valid(const WindowOptions& options) {
  require_at_least(options.samples, 1, "samples");
  require_at_least(options.seqlen, 1, "seqlen");
  require_at_least(options.skip, 0, "skip");
  require_at_least(options.take.value_or(0), 0, "take");
  require_at_least(options.windows_per_document, 1, "windows_per_document");
}

/// The indices of the documents to use, in order.
std::vector<int64_t> chosen(int64_t documents, const WindowOptions& options) {
  std::vector<int64_t> order(static_cast<size_t>(documents));
  std::iota(order.begin(), order.end(), 0);
  if (options.shuffle) Random(*options.shuffle).shuffle(std::span(order));
  const int64_t skip = std::min(options.skip, documents);
  const int64_t take = std::min(options.take.value_or(documents), documents - skip);
  const auto begin = order.begin() + skip;
  return {begin, begin + take};
}

std::string name_of(const Document& document) {
  return document.file + ": document " + std::to_string(document.number);
}

std::vector<int32_t> ids_of(const Document& document, const Tokenizer* tokenizer,
                            int64_t vocabulary, const std::atomic<bool>* cancelled) {
  if (!document.ids && tokenizer == nullptr) {
    fail(name_of(document), "a tokenizer for its text, or token ids", "neither");
  }
  std::vector<int32_t> ids =
      document.ids ? *document.ids : tokenizer->encode(document.text, cancelled);
  for (size_t at = 0; at < ids.size(); ++at) {
    if (ids[at] >= 0 && ids[at] < vocabulary) continue;
    fail(name_of(document),
         "token ids from 0 to " + std::to_string(vocabulary - 1) + " (the model's vocabulary is " +
             std::to_string(vocabulary) + ")",
         "id " + std::to_string(ids[at]) + " at " + std::to_string(at));
  }
  return ids;
}

/// The ids of documents in their order, made by several threads: never of one that is not asked
/// for.
class DocumentIds {
 public:
  DocumentIds(const std::vector<Document>& documents, std::vector<int64_t> order,
              const Tokenizer* tokenizer, int64_t vocabulary, const Threads& threads,
              const std::atomic<bool>* cancelled)
      : documents_(documents),
        order_(std::move(order)),
        tokenizer_(tokenizer),
        vocabulary_(vocabulary),
        threads_(threads),
        cancelled_(cancelled) {}

  int64_t size() const { return std::ssize(order_); }
  int64_t index(int64_t place) const { return order_[static_cast<size_t>(place)]; }
  /// `surely`: how many, this one included, are asked for whatever they hold.
  std::vector<int32_t> at(int64_t place, int64_t surely) {
    if (place >= first_ + std::ssize(made_)) make(place, surely);
    Made& found = made_[static_cast<size_t>(place - first_)];
    if (found.error) std::rethrow_exception(found.error);
    return std::move(found.ids);
  }

 private:
  struct Made {
    std::vector<int32_t> ids;
    std::exception_ptr error;
  };

  void make(int64_t place, int64_t surely) {
    const int64_t most = int64_t{4} * threads_.count();
    first_ = place;
    made_.assign(static_cast<size_t>(std::min({most, surely, size() - place})), {});
    threads_.for_each(std::ssize(made_), [&](int64_t i, int) {
      Made& one = made_[static_cast<size_t>(i)];
      try {
        one.ids = ids_of(documents_[static_cast<size_t>(index(place + i))], tokenizer_, vocabulary_,
                         cancelled_);
      } catch (...) {
        one.error = std::current_exception();  // that of the first document counts
      }
    });
  }

  const std::vector<Document>& documents_;
  std::vector<int64_t> order_;
  const Tokenizer* tokenizer_;
  int64_t vocabulary_;
  const Threads& threads_;
  const std::atomic<bool>* cancelled_;
  int64_t first_ = 0;
  std::vector<Made> made_;  ///< from `first_` on
};

template <class T>
void append_little_endian(T value, std::string& bytes) {
  for (size_t i = 0; i < sizeof(T); ++i) bytes += static_cast<char>((value >> (8 * i)) & 0xFF);
}

}  // namespace

Windows cut_windows(const std::vector<Document>& documents, const Tokenizer* tokenizer,
                    const WindowOptions& options, int64_t vocabulary, const Threads& threads,
                    const std::atomic<bool>* cancelled) {
  require_valid(options);
  Windows result;
  result.documents = static_cast<int64_t>(documents.size());
  const auto room = [&] { return options.samples - std::ssize(result.windows); };
  const int64_t each = options.windows_per_document;
  DocumentIds all(documents, chosen(result.documents, options), tokenizer, vocabulary, threads,
                  cancelled);
  for (int64_t place = 0; place < all.size() && room() > 0; ++place) {
    if (cancelled != nullptr && *cancelled) fail("data", "time to cut it", "an interruption");
    const int64_t index = all.index(place);
    const std::vector<int32_t> ids = all.at(place, (room() - 1) / each + 1);
    if (ids.empty()) ++result.empty_documents;
    const auto size = static_cast<int64_t>(ids.size());
    int64_t start = 0;
    for (int64_t i = 0; i < each && start < size && room() > 0; ++i) {
      const int64_t length = std::min(options.seqlen, size - start);
      const auto begin = ids.begin() + start;
      result.windows.push_back({{begin, begin + length}, index, start});
      result.short_documents += length < options.seqlen;
      start += length;
    }
  }
  if (result.windows.empty()) {
    fail("data", "a document with tokens after skip and take",
         "none of " + std::to_string(result.documents) + " (skip " + std::to_string(options.skip) +
             ", take " + (options.take ? std::to_string(*options.take) : "all") + ", " +
             std::to_string(result.empty_documents) + " empty)");
  }
  return result;
}

std::string hash_windows(const Windows& windows) {
  Sha256 hash;
  std::string bytes;
  append_little_endian(static_cast<uint64_t>(windows.windows.size()), bytes);
  hash.update(bytes);
  for (const Window& window : windows.windows) {
    bytes.clear();
    append_little_endian(static_cast<uint64_t>(window.ids.size()), bytes);
    for (const int32_t id : window.ids) append_little_endian(static_cast<uint32_t>(id), bytes);
    hash.update(bytes);
  }
  return hash.hex();
}

}  // namespace scute
