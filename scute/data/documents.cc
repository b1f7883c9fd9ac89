#include "scute/data/documents.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "scute/base/error.h"
#include "scute/base/json.h"
#include "scute/io/file.h"
#include "scute/io/npy.h"
#include "scute/text/utf8.h"

namespace scute {
namespace {

constexpr std::string_view kIdRange = "token ids from 0 to 2147483647";

/// Takes the next line off `rest`, without its newline and a \r before it.
std::string_view take_line(std::string_view& rest) {
  const size_t end = std::min(rest.find('\n'), rest.size());
  std::string_view line = rest.substr(0, end);
  rest.remove_prefix(std::min(end + 1, rest.size()));
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

bool is_blank(std::string_view line) {
  for (size_t at = 0; at < line.size();) {
    const CodePoint next = read_code_point(line, at);
    if (!is_white_space(next.value)) return false;
    at += next.bytes;
  }
  return true;
}

std::vector<int32_t> read_ids(const Json& list, const std::string& at) {
  std::vector<int32_t> ids;
  for (const Json& id : list.as_array(at)) {
    if (!id.is_int() || id.as_int(at) < 0 || !std::in_range<int32_t>(id.as_int(at))) {
      fail(at, kIdRange, id.dump());
    }
    ids.push_back(static_cast<int32_t>(id.as_int(at)));
  }
  return ids;
}

Document read_json_line(std::string_view line, const std::string& at) {
  constexpr std::string_view kExpected = R"(an object with "text" or "ids")";
  const Json object = Json::parse(line, at);
  if (!object.is_object()) fail(at, kExpected, "another JSON value");
  const Json* text = object.find("text");
  const Json* ids = object.find("ids");
  if (text == nullptr && ids == nullptr) fail(at, kExpected, "neither");
  Document document;
  if (text != nullptr) document.text = text->as_string(at + ": text");
  if (ids != nullptr) document.ids = read_ids(*ids, at + ": ids");
  return document;
}

template <class T>
std::vector<int32_t> checked_ids(MatView<const T> rows, int64_t row, const std::string& file) {
  std::vector<int32_t> ids;
  ids.reserve(static_cast<size_t>(rows.cols));
  for (int64_t i = 0; i < rows.cols; ++i) {
    const T id = rows.row(row)[i];
    if (id < 0 || !std::in_range<int32_t>(id)) {
      fail(file + ": row " + std::to_string(row), kIdRange, std::to_string(id));
    }
    ids.push_back(static_cast<int32_t>(id));
  }
  return ids;
}

std::vector<Document> read_npy_documents(const std::string& file) {
  const Tensor tensor = read_npy(file);
  if (tensor.rank() != 1 && tensor.rank() != 2) {
    fail(file, "one or two dimensions", "shape " + to_string(tensor.shape()));
  }
  if (tensor.dtype() != DType::i32 && tensor.dtype() != DType::i64) {
    fail(file, "int32 or int64 token ids", std::string(name_of(tensor.dtype())));
  }
  const int64_t rows = tensor.rank() == 1 ? 1 : tensor.dim(0);
  const int64_t cols = tensor.dim(tensor.rank() - 1);
  // Rows without a column take no bytes of the file, so their number means nothing.
  if (cols == 0 && rows > 1) fail(file, "token ids", "shape " + to_string(tensor.shape()));
  std::vector<Document> documents;
  for (int64_t row = 0; row < rows; ++row) {
    documents.push_back({.text = {}, .ids = std::vector<int32_t>(), .file = file, .number = row});
    if (cols == 0) continue;
    documents.back().ids = tensor.dtype() == DType::i32
                               ? checked_ids(tensor.matrix<int32_t>(), row, file)
                               : checked_ids(tensor.matrix<int64_t>(), row, file);
  }
  return documents;
}

enum class Format { jsonl, txt, npy };

Format format_of(const std::string& file) {
  constexpr std::string_view kAccepted = ".jsonl, .txt or .npy";
  std::string extension = std::filesystem::path(file).extension().string();
  for (char& c : extension) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  if (extension == ".jsonl") return Format::jsonl;
  if (extension == ".txt") return Format::txt;
  if (extension == ".npy") return Format::npy;
  constexpr std::pair<std::string_view, std::string_view> kPacked[] = {
      {".zst", "zstd -d"}, {".gz", "gunzip -k"}, {".xz", "xz -dk"}, {".bz2", "bzip2 -dk"}};
  for (const auto& [packed, command] : kPacked) {
    if (extension != packed) continue;
    fail(file, std::string(kAccepted) + " (unpack it first: " + std::string(command) + " FILE)",
         "a packed file (" + extension + ")");
  }
  fail(file, kAccepted, extension.empty() ? "no extension" : extension);
}

std::vector<int32_t> encode(std::string_view text, const Tokenizer* tokenizer,
                            const std::string& file) {
  if (tokenizer == nullptr) fail(file, "a tokenizer for its text, or token ids", "neither");
  return tokenizer->encode(text);
}

std::vector<int32_t> join(const std::vector<Document>& documents, const Tokenizer* tokenizer,
                          const std::string& file) {
  std::vector<int32_t> ids;
  std::string text;
  size_t with_ids = 0;
  for (const Document& document : documents) {
    if (document.ids) {
      ids.insert(ids.end(), document.ids->begin(), document.ids->end());
      ++with_ids;
    } else {
      if (&document != documents.data()) text += "\n\n";
      text += document.text;
    }
  }
  if (with_ids == documents.size()) return ids;
  if (with_ids > 0) fail(file, "texts or ids", "both");
  return encode(text, tokenizer, file);
}

}  // namespace

std::vector<Document> parse_jsonl(std::string_view bytes, std::string_view file) {
  std::vector<Document> documents;
  if (bytes.starts_with("\xEF\xBB\xBF")) bytes.remove_prefix(3);
  for (int64_t line_number = 1; !bytes.empty(); ++line_number) {
    const std::string_view line = take_line(bytes);
    if (is_blank(line)) continue;
    Document document = read_json_line(line, std::string(file) + ":" + std::to_string(line_number));
    document.file = std::string(file);
    document.number = static_cast<int64_t>(documents.size());
    documents.push_back(std::move(document));
  }
  return documents;
}

std::vector<Document> parse_txt(std::string_view bytes, std::string_view file) {
  std::vector<Document> documents;
  bool inside = false;
  while (!bytes.empty()) {
    const std::string_view line = take_line(bytes);
    const bool blank = is_blank(line);
    if (!blank && inside) documents.back().text += '\n';
    if (!blank && !inside) {
      documents.push_back({.text = {},
                           .ids = {},
                           .file = std::string(file),
                           .number = static_cast<int64_t>(documents.size())});
    }
    if (!blank) documents.back().text += line;
    inside = !blank;
  }
  return documents;
}

std::vector<Document> read_documents(const std::vector<std::string>& files) {
  // All names are looked at first: a wrong one must not cost the reading of the others.
  for (const std::string& file : files) format_of(file);
  std::vector<Document> documents;
  std::string names;
  for (const std::string& file : files) {
    const Format format = format_of(file);
    std::vector<Document> found = format == Format::npy     ? read_npy_documents(file)
                                  : format == Format::jsonl ? parse_jsonl(read_text(file), file)
                                                            : parse_txt(read_text(file), file);
    documents.insert(documents.end(), std::make_move_iterator(found.begin()),
                     std::make_move_iterator(found.end()));
    names += (names.empty() ? "" : ", ") + file;
  }
  if (documents.empty()) fail(names.empty() ? "data" : names, "at least one document", "none");
  return documents;
}

std::vector<int32_t> read_stream(const std::string& file, const Tokenizer* tokenizer) {
  const Format format = format_of(file);
  const std::vector<int32_t> ids = format == Format::txt ? encode(read_text(file), tokenizer, file)
                                   : format == Format::jsonl
                                       ? join(parse_jsonl(read_text(file), file), tokenizer, file)
                                       : join(read_npy_documents(file), tokenizer, file);
  if (ids.empty()) fail(file, "at least one token", "none");
  return ids;
}

}  // namespace scute
