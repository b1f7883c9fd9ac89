// Calibration data: documents from files, cut into windows of token ids in a seeded order.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "scute/base/threads.h"
#include "scute/data/text_input.h"
#include "scute/text/tokenizer.h"

namespace scute {

/// One document: text, or token ids if the file was tokenized before.
struct Document {
  std::string text;
  std::optional<std::vector<int32_t>> ids;  ///< used instead of the text when present
  std::string file;                         ///< where it came from, and
  int64_t number = 0;                       ///< its number in that file, from 0
};

/// .jsonl: one object a line with "text" or "ids"; .json: the same, or an array of such objects;
/// .txt: blocks between blank lines; .npy: integers, one row a document (one dimension: one
/// document); with input.raw_ids also .bin, one document. Error naming file and line on anything
/// else, on ids below 0, and when there is no document at all; bad lines are counted in `bad`
/// instead when the input says so. Empty documents are kept. A packed file (.gz, .zst, …) is
/// refused with the command that unpacks it. Standard input and other pipes without a name
/// (InputFiles) may hold any of these: what they begin with tells.
std::vector<Document> read_documents(const std::vector<std::string>& files,
                                     const TextInput& input = {}, BadLines* bad = nullptr);

/// The documents in the bytes of a .jsonl or .json; `file` is named in errors, with the line from
/// 1. Blank lines are skipped; CR, CRLF, a byte order mark and a last line without newline are
/// fine, and what other members hold is not looked at.
std::vector<Document> parse_jsonl(std::string_view bytes, std::string_view file,
                                  const TextInput& input = {}, BadLines* bad = nullptr);

/// The blocks of a .txt: the lines between blank lines (nothing but white space), joined by \n;
/// a carriage return before the newline is dropped.
std::vector<Document> parse_txt(std::string_view bytes, std::string_view file);

/// The ids of a whole file as one stream (perplexity): a .txt read as it is, .jsonl texts joined by
/// a blank line (or all ids one after the other), .npy rows joined. Error when a .jsonl mixes texts
/// and ids, when text comes without a tokenizer, and when no token is in the file.
std::vector<int32_t> read_stream(const std::string& file, const Tokenizer* tokenizer,
                                 const TextInput& input = {}, BadLines* bad = nullptr);

/// Which windows of tokens are cut from documents.
struct WindowOptions {
  int64_t samples = 512;                       ///< windows at most, at least 1
  int64_t seqlen = 512;                        ///< tokens of a window, at least 1
  std::optional<uint64_t> shuffle = 42;        ///< seed; empty: file order
  int64_t skip = 0;                            ///< documents skipped after shuffling
  std::optional<int64_t> take = std::nullopt;  ///< documents used at most after skipping
  int64_t windows_per_document = 1;            ///< at most, at least 1
};

/// One sample: consecutive tokens of one document.
struct Window {
  std::vector<int32_t> ids;
  int64_t document;  ///< index into the documents
  int64_t start;     ///< first token within the document
};

/// The windows, and what was left out.
struct Windows {
  std::vector<Window> windows;
  int64_t short_documents = 0;  ///< windows shorter than seqlen
  int64_t empty_documents = 0;  ///< without a token: skipped; of those that were looked at
  int64_t documents = 0;        ///< documents offered, before skip and take
  BadLines bad_lines = {};      ///< left out before that
};

/// Shuffle, skip, take; then the first windows_per_document windows of seqlen tokens of each, until
/// there are `samples`. A document's last window may be short (counted) but never empty. Documents
/// are tokenized as they are needed, several at once: the same windows for any number of threads.
/// Error when nothing is left, when an option is out of its range, when an id is not below
/// `vocabulary`, or once *cancelled is set. `tokenizer` may be null when every document brings ids.
Windows cut_windows(const std::vector<Document>& documents, const Tokenizer* tokenizer,
                    const WindowOptions& options, int64_t vocabulary,
                    const Threads& threads = Threads(1),
                    const std::atomic<bool>* cancelled = nullptr);

/// SHA-256 over the number of windows, then each window's length (both 8 bytes, little endian) and
/// ids (4 bytes each, little endian): names exactly what a model was shown, and in which order.
std::string hash_windows(const Windows& windows);

}  // namespace scute
