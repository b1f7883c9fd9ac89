#include "scute/data/documents.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <utility>

#include "scute/base/error.h"
#include "scute/base/json.h"
#include "scute/data/id_files.h"
#include "scute/data/json_lines.h"
#include "scute/io/npy.h"
#include "scute/text/utf8.h"

namespace scute {
namespace {

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

constexpr std::array<std::string_view, 2> kDocumentMembers{"text", "ids"};

Document document_of(const Json& object, const std::string& at) {
  const Json* text = object.find("text");
  const Json* ids = object.find("ids");
  if (text == nullptr && ids == nullptr) {
    fail(at, R"(an object with "text" or "ids")", "neither");
  }
  Document document;
  // Of both the ids count, whatever the text is.
  if (ids != nullptr) {
    document.ids = read_json_ids(*ids, at + ": ids");
  } else {
    document.text = text->as_string(at + ": text");
  }
  return document;
}

std::vector<Document> read_id_documents(const std::string& file, const TextInput& input) {
  std::vector<Document> documents;
  for (auto& ids : read_id_rows(input.files->open(file, true), input.raw_ids)) {
    documents.push_back({.text = {},
                         .ids = std::move(ids),
                         .file = file,
                         .number = static_cast<int64_t>(documents.size())});
  }
  return documents;
}

enum class Format { lines, txt, ids };

/// Of what has no name to tell: ids when it begins as a .npy or --raw-ids says so, objects when it
/// begins with one or with an array of them, else text.
Format format_of_stream(const std::string& file, const TextInput& input) {
  const InputFile stream = input.files->open(file, true);
  if (input.raw_ids || is_npy(stream)) return Format::ids;
  const auto whole = stream.bytes(0, stream.size());
  std::string_view text(reinterpret_cast<const char*>(whole.get()),
                        static_cast<size_t>(stream.size()));
  const auto begins = [&](std::string_view with) {
    text.remove_prefix(std::min(text.find_first_not_of(" \t\r\n"), text.size()));
    const bool found = text.starts_with(with);
    if (found) text.remove_prefix(with.size());
    return found;
  };
  begins("\xEF\xBB\xBF");
  return begins("{") || (begins("[") && begins("{")) ? Format::lines : Format::txt;
}

Format format_of(const std::string& file, const TextInput& input) {
  constexpr std::string_view kAccepted = ".jsonl, .txt or .npy";
  if (is_nameless(file)) return format_of_stream(file, input);
  std::string extension = std::filesystem::path(file).extension().string();
  for (char& c : extension) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  if (extension == ".jsonl" || extension == ".json") return Format::lines;
  if (extension == ".txt") return Format::txt;
  if (extension == ".npy" || (input.raw_ids && extension == ".bin")) return Format::ids;
  if (extension == ".bin") {
    fail(file, kAccepted, ".bin; of token ids: --raw-ids u16 (or u32, i32, i64)");
  }
  constexpr std::pair<std::string_view, std::string_view> kPacked[] = {
      {".zst", "zstd -d"}, {".gz", "gunzip -k"}, {".xz", "xz -dk"}, {".bz2", "bzip2 -dk"}};
  for (const auto& [packed, command] : kPacked) {
    if (extension != packed) continue;
    fail(file, std::string(kAccepted) + " (unpack it first: " + std::string(command) + " FILE)",
         "a packed file (" + extension + ")");
  }
  fail(file, kAccepted, extension.empty() ? "no extension" : extension);
}

/// --raw-ids that no file obeys is a mistake.
void check_raw_ids(const std::vector<std::string>& files, const TextInput& input) {
  const bool any = std::ranges::any_of(
      files, [&](const std::string& file) { return format_of(file, input) == Format::ids; });
  if (input.raw_ids && !any) {
    fail("--raw-ids", "a file of token ids, .npy without a header or .bin", "none");
  }
}

std::vector<Document> documents_of(const std::string& file, const TextInput& input, BadLines& bad) {
  switch (format_of(file, input)) {
    case Format::ids:
      return read_id_documents(file, input);
    case Format::lines:
      return parse_jsonl(input.files->text(file), file, input, &bad);
    default:
      return parse_txt(input.files->text(file), file);
  }
}

std::vector<int32_t> encode(std::string_view text, const Tokenizer* tokenizer,
                            const TextInput& input, const std::string& file) {
  if (tokenizer == nullptr) fail(file, "a tokenizer for its text, or token ids", "neither");
  return tokenizer->encode(text, input.cancelled);
}

std::vector<int32_t> join(const std::vector<Document>& documents, const Tokenizer* tokenizer,
                          const TextInput& input, const std::string& file) {
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
  return encode(text, tokenizer, input, file);
}

}  // namespace

std::vector<Document> parse_jsonl(std::string_view bytes, std::string_view file,
                                  const TextInput& input, BadLines* bad) {
  std::vector<Document> documents;
  BadLines unasked;
  for_each_object(bytes, file, kDocumentMembers, is_json_name(file), input,
                  bad == nullptr ? unasked : *bad, [&](const Json& object, const std::string& at) {
                    Document document = document_of(object, at);
                    document.file = std::string(file);
                    document.number = static_cast<int64_t>(documents.size());
                    documents.push_back(std::move(document));
                    return true;
                  });
  return documents;
}

std::vector<Document> parse_txt(std::string_view bytes, std::string_view file) {
  std::vector<Document> documents;
  bool inside = false;
  bytes = without_mark(bytes, file);
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

std::vector<Document> read_documents(const std::vector<std::string>& files, const TextInput& input,
                                     BadLines* bad) {
  // All names are looked at first: a wrong one must not cost the reading of the others.
  for (const std::string& file : files) format_of(file, input);
  check_raw_ids(files, input);
  std::vector<Document> documents;
  BadLines left_out;
  std::string names;
  for (const std::string& file : files) {
    std::vector<Document> found = documents_of(file, input, left_out);
    documents.insert(documents.end(), std::make_move_iterator(found.begin()),
                     std::make_move_iterator(found.end()));
    names += (names.empty() ? "" : ", ") + file;
  }
  if (documents.empty()) fail(names.empty() ? "data" : names, "at least one document", "none");
  if (bad != nullptr) bad->add(left_out);
  return documents;
}

std::vector<int32_t> read_stream(const std::string& file, const Tokenizer* tokenizer,
                                 const TextInput& input, BadLines* bad) {
  check_raw_ids({file}, input);
  BadLines left_out;
  const std::vector<int32_t> ids =
      format_of(file, input) == Format::txt
          ? encode(input.files->text(file), tokenizer, input, file)
          : join(documents_of(file, input, left_out), tokenizer, input, file);
  if (ids.empty()) fail(file, "at least one token", "none");
  if (bad != nullptr) bad->add(left_out);
  return ids;
}

}  // namespace scute
