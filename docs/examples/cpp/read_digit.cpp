// The digit that a 28×28 picture shows, by inference.onnx: the same digits as infer.py's.
// Of a model of other classes it is the number of the class; card.json's labels have the names.
//
//     g++ -O2 read_digit.cpp -I/usr/include/opencv4 -lopencv_dnn -lopencv_core -o read_digit
//     ./read_digit inference.onnx LOW HIGH PICTURE.pgm ...
//
// LOW and HIGH are the values of background and ink, input.low and input.high in card.json. A picture is a binary PGM
// file of bytes as MNIST has them: background 0, ink up to 255, the digit centred; as large as input.shape says.
#include <cstdio>
#include <fstream>
#include <stdexcept>
#include <string>

#include <opencv2/core.hpp>
#include <opencv2/dnn.hpp>

cv::Mat read_pgm(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  std::string kind;
  int width = 0, height = 0, white = 0;
  file >> kind >> width >> height >> white;
  file.get();
  if (!file || kind != "P5" || white != 255 || width < 1 || width > 32 || height != width)
    throw std::runtime_error(path + ": expected a binary PGM picture of 28×28 or 32×32 bytes");
  cv::Mat bytes(height, width, CV_8U);
  file.read(bytes.ptr<char>(), static_cast<std::streamsize>(bytes.total()));
  if (!file) throw std::runtime_error(path + ": expected more bytes");
  return bytes;
}

int main(int argc, char **argv) try {
  if (argc < 5) throw std::runtime_error("usage: read_digit inference.onnx LOW HIGH PICTURE.pgm ...");
  cv::dnn::Net network = cv::dnn::readNetFromONNX(argv[1]);
  const double low = std::stod(argv[2]), high = std::stod(argv[3]);
  for (int i = 4; i < argc; ++i) {
    cv::Mat image;
    read_pgm(argv[i]).convertTo(image, CV_32F, (high - low) / 255, low);
    network.setInput(cv::dnn::blobFromImage(image));
    const cv::Mat probabilities = network.forward();
    cv::Point best;
    double probability = 0;
    cv::minMaxLoc(probabilities, nullptr, &probability, nullptr, &best);
    std::printf("{\"path\": \"%s\", \"digit\": \"%d\", \"probability\": %.6f}\n", argv[i], best.x, probability);
  }
} catch (const std::exception &error) {
  std::fprintf(stderr, "error: %s\n", error.what());
  return 1;
}
