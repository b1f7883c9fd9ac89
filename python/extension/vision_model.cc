// Cobra: logits and sites of pictures and the text behind them, answers; and the regressor.
#include <fmt/format.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <numeric>

#include "extension/arrays.h"
#include "extension/generation.h"
#include "extension/json.h"
#include "extension/models.h"
#include "extension/module.h"
#include "scute/base/error.h"
#include "scute/cobra/dump.h"
#include "scute/cobra/generate.h"
#include "scute/io/picture.h"
#include "scute/language/tokenizer_files.h"

namespace scute::python {

namespace nb = nanobind;

namespace {

using Bytes = nb::ndarray<const uint8_t, nb::ndim<3>, nb::c_contig, nb::device::cpu>;

std::shared_ptr<CobraValue> load(const std::string& path, const std::string& compute,
                                 const std::string& backend, int threads,
                                 const std::string& tokenizer) {
  const HowToRun how = how_to_run(compute, backend, threads);
  CobraDescription description = describe_cobra(path);
  CobraModel model = load_cobra(description, how.execution, CobraModel::Parts::all);
  auto words = load_tokenizer(description.language, tokenizer);
  return std::make_shared<CobraValue>(std::move(description), std::move(model), std::move(words),
                                      Threads(how.threads));
}

/// A file's path, or bytes of red, green and blue, (height, width, 3).
Picture picture_of(nb::handle image) {
  std::string path;
  if (nb::try_cast(image, path)) {
    const nb::gil_scoped_release released;
    return read_picture(path);
  }
  Bytes array;
  if (!import_array(safe_array(image, "images"), array) || array.shape(2) != 3 ||
      array.size() == 0) {
    throw nb::type_error(
        "images: expected paths or uint8 arrays of (height, width, 3) in row-major "
        "order, found another");
  }
  return {.width = static_cast<int64_t>(array.shape(1)),
          .height = static_cast<int64_t>(array.shape(0)),
          .pixels = {array.data(), array.data() + array.size()}};
}

/// One row of ids a picture; the same for all where there is but one.
std::vector<DumpedPicture> shown(const CobraValue& value, const nb::sequence& images,
                                 nb::handle given) {
  std::vector<DumpedPicture> out;
  for (const nb::handle image : images) {
    out.push_back({tower_pixels(value.description, picture_of(image)), {}});
  }
  if (out.empty()) fail("images", "at least one picture", "none");
  if (given.is_none()) return out;
  const Tensor ids = token_ids(given);
  const auto count = static_cast<int64_t>(out.size());
  if (ids.rank() == 2 && ids.dim(0) != count) {
    fail("ids", fmt::format("{} rows, one a picture", count), to_string(ids.shape()));
  }
  const auto rows = ids.matrix<int32_t>();
  for (int64_t i = 0; i < count; ++i) {
    const int32_t* row = rows.row(ids.rank() == 2 ? i : 0);
    out[static_cast<size_t>(i)].ids = {row, row + rows.cols};
  }
  return out;
}

nb::dict dumped(const CobraValue& value, const nb::sequence& images, nb::handle ids,
                const std::optional<std::vector<std::string>>& globs) {
  const auto pictures = shown(value, images, ids);
  std::vector<NamedTensor> out;
  {
    const nb::gil_scoped_release released;
    const auto sites = globs ? chosen_sites(value.model.sites(), *globs) : std::vector<Site>{};
    out = dump_cobra(value.model, pictures, sites, value.threads.count());
  }
  return to_numpy(out);
}

/// What the model was trained to read for what a human says.
std::vector<int32_t> prompt_ids(const CobraValue& value, const std::string& message) {
  return cobra_prompt(value.description, tokenizer_of(value), message).ids;
}

GenerationValue* answer(const std::shared_ptr<CobraValue>& value, nb::handle prompt,
                        nb::handle image, int64_t max_tokens, const SamplingOptions& sampling,
                        bool ignore_eos) {
  const Tokenizer& tokenizer = tokenizer_of(*value);
  const Tensor ids = token_ids(prompt);
  const auto begin = ids.values<int32_t>();
  GenerationJob job{.owner = value,
                    .model = &value->model.language(),
                    .tokenizer = &tokenizer,
                    .before = {},
                    .prompt = {begin.begin(), begin.end()},
                    .options = {.sampling = sampling, .max_tokens = max_tokens},
                    .threads = value->threads};
  if (!image.is_none()) {
    const Picture picture = picture_of(image);
    const nb::gil_scoped_release released;
    const auto pixels = tower_pixels(value->description, picture);
    job.before = Tensor(DType::f32, {value->model.picture_tokens(), value->model.width()});
    Run run;
    run.use(value->threads.team());
    value->model.picture(run, pixel_views(pixels), job.before.mutable_matrix<float>());
  }
  if (!ignore_eos) job.options.stop = stop_tokens(value->description.language, tokenizer);
  job.options.limit = std::min(tokenizer.size(), value->model.config().language.vocabulary);
  return new GenerationValue(std::move(job));
}

std::shared_ptr<RegressorValue> load_regressor(const std::string& path, int threads) {
  RegressorCheckpoint checkpoint = read_regressor_checkpoint(path);
  AnyRegressor model = build_stored_regressor(checkpoint);
  return std::make_shared<RegressorValue>(std::move(checkpoint), std::move(model),
                                          Threads(how_to_run("f32", "integer", threads).threads));
}

/// Windows end before each frame of `ends`; none: all that fit.
nb::object positions(const RegressorValue& value, nb::handle given, nb::handle wanted) {
  const FloatArray array(given, "frames");
  if (array.shape().size() != 2) {
    fail("frames", "an array (T, features) of normalized frames", to_string(array.shape()));
  }
  Tensor frames(DType::f32, array.shape());
  array.copy(0, array.size(), frames.mutable_values<float>().data());
  const int64_t window = value.checkpoint.config.window;
  std::vector<int64_t> ends;
  if (wanted.is_none()) {
    ends.resize(static_cast<size_t>(std::max<int64_t>(0, frames.dim(0) - window + 1)));
    std::iota(ends.begin(), ends.end(), window);
  } else {
    ends = nb::cast<std::vector<int64_t>>(
        nb::module_::import_("numpy").attr("asarray")(wanted).attr("tolist")());
  }
  Tensor out;
  {
    const nb::gil_scoped_release released;
    out = std::visit(
        [&](const auto& model) {
          return predict(model, frames.matrix<float>(), ends, value.threads);
        },
        value.model);
  }
  return to_numpy(out);
}

Json config_json(const RegressorConfig& config) {
  Json out = Json::object();
  out["variant"] = config.variant == RegressorConfig::Variant::slim ? "slim" : "origin";
  out["features"] = config.features;
  out["window"] = config.window;
  out["projected"] = config.projected;
  out["width"] = config.width;
  out["layers"] = config.layers;
  out["patch"] = config.patch;
  out["stride"] = config.stride;
  out["patches"] = config.patches();
  return out;
}

void bind_regressor(nb::module_& module) {
  nb::class_<RegressorValue> type(module, "Regressor", "What the package's Regressor wraps.");
  type.def_static("load", &load_regressor, nb::arg("path"), nb::arg("threads"),
                  nb::call_guard<nb::gil_scoped_release>());
  type.def_prop_ro(
      "config", [](const RegressorValue& v) { return to_python(config_json(v.checkpoint.config)); },
      nb::for_getter(nb::sig("def config(self) -> dict")));
  type.def_prop_ro("low_bit", [](const RegressorValue& v) {
    return !v.checkpoint.scales.empty() || v.checkpoint.formats.has_value();
  });
  type.def_prop_ro("remarks", [](const RegressorValue& v) { return v.checkpoint.remarks; });
  type.def("sites", [](const RegressorValue& v) {
    return site_names(RegressorSites(v.checkpoint.config).list);
  });
  type.def("predict", &positions, nb::arg("frames"), nb::arg("ends").none());
}

}  // namespace

void bind_vision(nb::module_& module) {
  nb::class_<CobraValue> type(module, "Cobra", "What the package's Cobra wraps.");
  type.def_static("load", &load, nb::arg("path"), nb::arg("compute"), nb::arg("backend"),
                  nb::arg("threads"), nb::arg("tokenizer"),
                  nb::call_guard<nb::gil_scoped_release>());
  type.def_prop_ro("name", [](const CobraValue& v) { return v.description.name; });
  type.def_prop_ro(
      "config", [](const CobraValue& v) { return to_python(v.description.json); },
      nb::for_getter(nb::sig("def config(self) -> dict")));
  type.def_prop_ro("low_bit", [](const CobraValue& v) { return v.description.low_bit; });
  type.def_prop_ro("vocabulary",
                   [](const CobraValue& v) { return v.model.config().language.vocabulary; });
  type.def_prop_ro("remarks", [](const CobraValue& v) { return v.description.remarks; });
  type.def("sites", [](const CobraValue& v) { return site_names(v.model.sites()); });
  type.def("dump", &dumped, nb::arg("images"), nb::arg("ids").none(), nb::arg("sites").none());
  type.def("prompt_ids", &prompt_ids, nb::arg("message"));
  type.def("generate", &answer, nb::arg("prompt"), nb::arg("image").none(), nb::arg("max_tokens"),
           nb::arg("sampling"), nb::arg("ignore_eos"));
  bind_regressor(module);
}

}  // namespace scute::python
