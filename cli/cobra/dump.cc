// scute dump for Cobra: of given pictures and the text behind them.
#include "scute/cobra/dump.h"

#include <fmt/format.h>

#include <filesystem>

#include "cli/described.h"
#include "cli/dump.h"
#include "cli/form.h"
#include "cli/terminal/words.h"
#include "scute/base/checked.h"
#include "scute/base/error.h"
#include "scute/base/threads.h"
#include "scute/cobra/picture_reader.h"
#include "scute/cobra/picture_texts.h"
#include "scute/io/file.h"

namespace scute::cli {
namespace {

struct CobraDumpRequest : DumpRequest {
  std::string images, image;
  TextOptions text;
  int64_t pictures = 1, seed = 42;
  bool no_random_text = false;

  void declare(Options& options) {
    options.model(model);
    options.images(images);
    options.text("--image", image, "FILE", "one picture instead of --images");
    options.last_reads();
    options.integer("--max-pictures", pictures, {.least = 1}, "pictures dumped, the first ones");
    options.prompts(text.prompts, no_random_text, text.length);
    options.integer("--seed", seed, {.least = 0}, "of random ids");
    declare_target(options);
    declare_machine(options);
    options.not_with({"--seed"}, "--prompts FILE or --no-random-text",
                     [this] { return !text.prompts.empty() || no_random_text; });
    options.only_with({"--max-pictures"}, "--images DIR");
  }
  void check() {
    if (images.empty() == image.empty()) {
      throw UsageError("expected either --images DIR or --image FILE (see scute dump --help)");
    }
    DumpRequest::check();
    text.random = !no_random_text;
    text.seed = static_cast<uint64_t>(seed);
    text.input.tokenizer = tokenizer;
  }
};

/// Pictures that cannot be read are passed over, and row i of the texts is of file i, as in
/// collect.
std::vector<DumpedPicture> read_pictures(const CobraDumpRequest& request,
                                         const CobraDescription& model) {
  std::vector<DumpedPicture> out;
  const auto add = [&](const PictureTexts& texts, int64_t number, std::vector<Tensor> pixels) {
    const auto ids = texts.of(number);
    out.push_back({std::move(pixels), {ids.begin(), ids.end()}});
  };
  if (!request.image.empty()) {
    add(PictureTexts(model, request.text, 1), 0, tower_pixels(model, read_picture(request.image)));
    return out;
  }
  PictureReader reader(model, request.images);
  const PictureTexts texts(model, request.text, reader.listed());
  for (PictureReader::Loaded& one : reader.next(request.pictures, Threads(request.threads))) {
    add(texts, one.number, std::move(one.pixels));
  }
  reader.require_one();
  return out;
}

/// Rows that pass a site for a picture, at most.
int64_t rows_at(const Site& site, const CobraConfig& config, int64_t length) {
  constexpr int64_t kPrefix = 8;  // class and register tokens: 5 in DINOv2 with registers
  const bool vision = site.name.starts_with("vision.") || site.name.starts_with("projector");
  return vision ? config.towers.front().patches() + kPrefix : length;
}

void check_memory(const std::vector<Site>& sites, const CobraConfig& config,
                  const std::vector<DumpedPicture>& pictures) {
  const int64_t length = config.projector_config().tokens() + std::ssize(pictures.front().ids);
  int64_t values = checked_mul(length, config.language.vocabulary, "dump");
  for (const Site& site : sites) {
    if (site.extent != Site::Extent::per_token) continue;
    values +=
        checked_mul(rows_at(site, config, length), element_count(site.shape, site.name), "dump");
  }
  require_dump_memory(checked_mul(checked_mul(values, std::ssize(pictures), "dump"), 4, "dump"),
                      "fewer pictures or --sites need less");
}

int run(CobraDumpRequest& request, const Call& call, Output& out) {
  ClaimedFile file(
      request.out, request.force,
      {request.model, request.images, request.image, request.text.prompts, request.tokenizer});
  const CobraDescription description = described_cobra(request.model, false);
  backend_only_with(call, description.low_bit);
  const CobraSites all(description.config, description.language.scheme);
  const std::vector<Site> sites = dumped_sites(all.list(), request);
  const std::vector<DumpedPicture> pictures = read_pictures(request, description);
  check_memory(sites, description.config, pictures);

  const CobraModel model = load_cobra(description, request.execution, CobraModel::Parts::all);
  const auto tensors = dump_cobra(model, pictures, sites, request.threads);
  int64_t tokens = 0;
  for (const DumpedPicture& one : pictures) tokens += std::ssize(one.ids);
  return write_dump(request, call, description.name, file, tensors,
                    {{"picture", std::ssize(pictures)}, {"token", tokens}}, out);
}

}  // namespace

Form cobra_dump_form() {
  return form<CobraDumpRequest>(
      {.kind = ModelKind::cobra,
       .summary = "logits and the tensors of chosen sites for given pictures",
       .example = "scute dump tests/golden/cobra/model --images tests/golden/cobra/pictures "
                  "--sites 'vision.*,projector' --out cobra-dump.safetensors"});
}

}  // namespace scute::cli
