// Cobra's config.json, and what the released models leave unsaid.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <filesystem>

#include "scute/base/error.h"
#include "scute/cobra/folder.h"
#include "scute/cobra/vision_config.h"

namespace scute {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kConfigLimit = int64_t{16} << 20;

/// The registered vision backbones that are computed here.
struct Backbone {
  const char* id;
  const char* dino;  ///< timm's name; null: no such tower
  const char* siglip;
  int64_t image;
};
constexpr const char* kDino = "vit_large_patch14_reg4_dinov2";
constexpr std::array kBackbones{
    Backbone{"dinosiglip-vit-so-384px", kDino, "vit_so400m_patch14_siglip_384", 384},
    Backbone{"siglip-vit-so400m", nullptr, "vit_so400m_patch14_siglip_224", 224},
    Backbone{"siglip-vit-so400m-384px", nullptr, "vit_so400m_patch14_siglip_384", 384},
    Backbone{"siglip-vit-b16-224px", nullptr, "vit_base_patch16_siglip_224", 224},
    Backbone{"siglip-vit-b16-256px", nullptr, "vit_base_patch16_siglip_256", 256},
    Backbone{"siglip-vit-b16-384px", nullptr, "vit_base_patch16_siglip_384", 384},
    Backbone{"dinov2-vit-l", kDino, nullptr, 224},
};

/// xiuyul/mamba-2.8b-zephyr and its siblings (README.md): used where llm/config.json is not.
constexpr const char* kReleasedLanguage = R"({"d_model": 2560, "n_layer": 64, "vocab_size": 50277,
  "ssm_cfg": {}, "rms_norm": true, "residual_in_fp32": true, "fused_add_norm": true,
  "pad_vocab_size_multiple": 8})";

Json read_json(const fs::path& file, InputFiles& files) {
  return Json::parse(files.text(file.string(), kConfigLimit), file.string());
}

std::string text_of(const Json& object, const char* key, const std::string& where) {
  return object.at(key, where).as_string(where + ": " + key);
}

/// Pixels of a side: said by "image_size", else known, else from "…-56px", else 0.
int64_t image_size(const Json& model, const Backbone* known, const std::string& id,
                   const std::string& where) {
  if (const Json* size = model.find("image_size")) return size->as_int(where + ": image_size");
  if (known != nullptr) return known->image;
  const size_t dash = id.rfind('-');
  if (dash == std::string::npos || !id.ends_with("px")) return 0;
  int64_t out = 0;
  const char *first = id.data() + dash + 1, *last = id.data() + id.size() - 2;
  const auto [end, error] = std::from_chars(first, last, out);
  return error == std::errc() && end == last ? out : 0;
}

[[noreturn]] void refuse_backbone(const std::string& id, const std::string& where) {
  std::string known;
  for (const Backbone& backbone : kBackbones)
    known += std::string(known.empty() ? "" : ", ") + backbone.id;
  fail(where + ": vision_backbone_id",
       fmt::format("one of {}, or dinosiglip-…, siglip-… or dinov2-… with vision/*/config.json",
                   known),
       fmt::format("\"{}\"", id));
}

void read_towers(const Json& model, const std::string& where, CobraDescription& out) {
  const std::string id = text_of(model, "vision_backbone_id", where);
  const auto* known =
      std::ranges::find_if(kBackbones, [&](const Backbone& b) { return id == b.id; });
  const Backbone* backbone = known == kBackbones.end() ? nullptr : known;
  const bool both = id.starts_with("dinosiglip-");
  const bool dino = both || id.starts_with("dinov2-");
  const bool siglip = both || id.starts_with("siglip-");
  if (!dino && !siglip) refuse_backbone(id, where);
  const int64_t image = image_size(model, backbone, id, where);
  const auto add = [&](TowerKind kind, const char* folder, const char* architecture) {
    const fs::path file = fs::path(out.path) / "vision" / folder / "config.json";
    const bool there = fs::exists(file);
    if (!there && architecture == nullptr)
      fail(file.string(), "timm's config.json of this tower", "no such file");
    const TowerDescription tower = describe_tower(
        kind, there ? read_json(file, *out.files) : Json::object(),
        architecture == nullptr ? "" : architecture, image, there ? file.string() : where);
    out.config.towers.push_back(tower.config);
    out.normalization.push_back(tower.normalization);
  };
  if (dino) add(TowerKind::dino, "dino", backbone == nullptr ? nullptr : backbone->dino);
  if (siglip) add(TowerKind::siglip, "siglip", backbone == nullptr ? nullptr : backbone->siglip);
}

void read_language(const std::string& where, CobraDescription& out) {
  const fs::path folder = fs::path(out.path) / "llm";
  const fs::path file = folder / "config.json";
  if (fs::exists(file)) {
    out.language = describe_config(read_json(file, *out.files), file.string());
  } else if (out.language_id.starts_with("mamba-2.8b")) {
    out.language =
        describe_config(Json::parse(kReleasedLanguage, out.language_id), out.language_id);
  } else {
    fail(file.string(),
         "the language model's config.json (only mamba-2.8b, -slimpj and -zephyr need none)",
         fmt::format("no such file, and llm_backbone_id \"{}\" in {}", out.language_id, where));
  }
  out.language.path = folder.string();
  out.language.files = out.files;
  out.language.name = out.language_id;
  out.config.language = out.language.config;
}

/// {"format": "scute-cobra", "version": 1, …, "ranges": {SITE: [lo, hi]}}.
void read_low_bit(const Json& scute, const std::string& where, CobraDescription& out) {
  const std::string format = text_of(scute, "format", where);
  if (format != "scute-cobra") fail(where + ": format", "\"scute-cobra\"", "\"" + format + "\"");
  const int64_t version = scute.at("version", where).as_int(where + ": version");
  if (version != 1)
    fail(where + ": version", "1 (a newer scute wrote this)", fmt::format("{}", version));
  out.low_bit = true;
  const Json* ranges = scute.find("ranges");
  if (ranges == nullptr) return;
  for (const auto& [site, pair] : ranges->as_object(where + ": ranges")) {
    const std::string at = where + ": ranges: " + site;
    const auto& ends = pair.as_array(at);
    if (ends.size() != 2) fail(at, "[lo, hi]", pair.dump_config());
    const auto lo = static_cast<float>(ends[0].as_double(at)),
               hi = static_cast<float>(ends[1].as_double(at));
    if (!std::isfinite(lo) || !std::isfinite(hi) || lo > hi)
      fail(at, "finite lo ≤ hi", pair.dump_config());
    out.ranges[site] = {lo, hi};
  }
}

bool has_vision(const Json& config) {
  const Json* model = config.find("model");
  return model != nullptr && model->find("vision_backbone_id") != nullptr;
}

}  // namespace

CobraDescription describe_cobra(const std::string& folder) {
  const fs::path root(folder);
  if (!fs::is_directory(root)) fail(folder, "a Cobra folder", "no such folder");
  const std::string file = (root / "config.json").string();
  if (!fs::exists(file)) fail(folder, "a Cobra folder with a config.json", "none");
  CobraDescription out;
  out.path = folder;
  out.name = fs::canonical(root).filename().string();
  out.json = read_json(file, *out.files);
  const std::string where = file + ": model";
  if (!has_vision(out.json)) {
    fail(file, "Cobra's config (a \"model\" with a \"vision_backbone_id\")",
         "none; a language model is measured on texts (--data)");
  }
  const Json& model = out.json.at("model", file);
  out.language_id = text_of(model, "llm_backbone_id", where);
  read_towers(model, where, out);
  try {
    out.config.projector = parse_projector(text_of(model, "arch_specifier", where));
    out.strategy = parse_resize_strategy(text_of(model, "image_resize_strategy", where));
  } catch (const Error& error) {
    const std::string text = error.what();
    throw Error(text.starts_with(file) ? text : file + ": " + text);
  }
  if (const Json* length = model.find("llm_max_length")) {
    out.text_length = length->as_int(where + ": llm_max_length");
    if (out.text_length < 1) fail(where + ": llm_max_length", "at least 1", length->dump());
  }
  read_language(where, out);
  out.config.check(file);
  if (const Json* scute = out.json.find("scute")) read_low_bit(*scute, file + ": scute", out);
  if (!out.low_bit) out.remarks = cobra_file_remarks(out);
  return out;
}

}  // namespace scute
