//! One plot as SVG. Its colours are the page's own variables, so that it is readable in the light and in the dark.

use plotters::chart::ChartBuilder;
use plotters::prelude::Circle;
use plotters::prelude::DrawingArea;
use plotters::prelude::DrawingAreaErrorKind;
use plotters::prelude::IntoDrawingArea as _;
use plotters::prelude::PathElement;
use plotters::prelude::SVGBackend;
use plotters::series::AreaSeries;
use plotters::series::LineSeries;
use plotters::style::Color as _;
use plotters::style::IntoFont as _;
use plotters::style::RGBColor;
use plotters::style::ShapeStyle;
use plotters::style::TextStyle;

use super::scale::Axis;

/// A plot: curves over an axis.
pub(super) struct Plot {
    /// What it shows, as a heading.
    pub(super) title: &'static str,
    /// What is to be seen in it, in a sentence.
    pub(super) says: &'static str,
    /// What the horizontal axis is.
    pub(super) x_name: &'static str,
    /// The horizontal axis.
    pub(super) x: Axis,
    /// The vertical axis.
    pub(super) y: Axis,
    /// In the order in which they are drawn and named.
    pub(super) curves: Vec<Curve>,
}

/// A curve of a plot.
pub(super) struct Curve {
    /// What the legend calls it.
    pub(super) name: String,
    /// Which of the page's colours it has.
    pub(super) ink: Ink,
    /// How it is drawn.
    pub(super) shape: Shape,
    /// Where it goes. A line ends before a point that is no number, and begins anew behind it.
    pub(super) points: Vec<(f64, f64)>,
}

/// The page's colours: `--NAME` in its style.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ink {
    /// The first curve.
    First,
    /// The second.
    Second,
    /// The third.
    Third,
    /// The fourth.
    Fourth,
    /// What is not to be crossed.
    Limit,
    /// What is written.
    Words,
    /// The grid.
    Grid,
}

/// How a curve is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// A line.
    Line,
    /// A line with its points.
    Dots,
    /// A line and what is below it.
    Area,
    /// A line of dashes.
    Dashes,
}

impl Ink {
    /// Every colour, so that none is forgotten where they are put in.
    const ALL: [Self; 7] =
        [Self::First, Self::Second, Self::Third, Self::Fourth, Self::Limit, Self::Words, Self::Grid];

    /// The first four, in turn.
    pub(super) fn of_curve(index: usize) -> Self {
        Self::ALL[index % 4]
    }

    /// The variable of the page's style.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Second => "second",
            Self::Third => "third",
            Self::Fourth => "fourth",
            Self::Limit => "limit",
            Self::Words => "words",
            Self::Grid => "grid",
        }
    }

    /// A colour that stands for it until the drawing is done.
    const fn stand_in(self) -> RGBColor {
        RGBColor(1, 2, self as u8)
    }
}

/// How large a plot is, in pixels of the page.
#[derive(Clone, Copy)]
pub(super) struct Size {
    /// Wide.
    pub(super) width: u32,
    /// High.
    pub(super) height: u32,
    /// Of the letters.
    pub(super) letters: u32,
    /// Labels on the horizontal axis, at most.
    pub(super) labels: usize,
}

/// The plotter's coordinates are whole numbers: four of them to a pixel draw smooth lines.
const FINE: u32 = 4;

/// The plot as an `svg` element; `None` where there is nothing to draw.
pub(super) fn svg(plot: &Plot, size: Size) -> Option<String> {
    if plot.curves.iter().all(|curve| curve.points.is_empty()) {
        return None;
    }
    let mut drawn = String::new();
    {
        let area =
            SVGBackend::with_string(&mut drawn, (size.width * FINE, size.height * FINE)).into_drawing_area();
        // A drawing in memory fails only where the plot has no room at all.
        draw(&area, plot, size).ok()?;
        area.present().ok()?;
    }
    Some(in_page_colours(&drawn, plot, size))
}

type Drawn<'a> =
    Result<(), DrawingAreaErrorKind<<SVGBackend<'a> as plotters::prelude::DrawingBackend>::ErrorType>>;

fn draw<'a>(
    area: &DrawingArea<SVGBackend<'a>, plotters::coord::Shift>,
    plot: &Plot,
    size: Size,
) -> Drawn<'a> {
    let fine = |pixels: u32| (pixels * FINE) as i32;
    let ink = Ink::Words.stand_in();
    let words =
        TextStyle::from(("sans-serif", f64::from(size.letters * FINE) * 1.24).into_font()).color(&ink);
    let mut chart = ChartBuilder::on(area)
        .margin_top(fine(8))
        .margin_right(fine(26))
        .margin_left(fine(2))
        .x_label_area_size(fine(size.letters * 3 + 8))
        .y_label_area_size(fine(size.letters * 5 + 4))
        .build_cartesian_2d(plot.x, plot.y)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .max_light_lines(0)
        .bold_line_style(pen(Ink::Grid, 1))
        .axis_style(pen(Ink::Grid, 1))
        .label_style(words)
        .x_labels(size.labels)
        .y_labels(6)
        .x_desc(plot.x_name)
        .set_all_tick_mark_size(fine(4))
        .draw()?;
    for curve in &plot.curves {
        let points = || curve.points.iter().copied();
        match curve.shape {
            Shape::Line => {
                for piece in curve.points.split(|(_, y)| y.is_nan()) {
                    chart.draw_series(LineSeries::new(piece.iter().copied(), pen(curve.ink, 2)))?;
                }
                continue;
            }
            Shape::Dots => {
                chart.draw_series(LineSeries::new(points(), pen(curve.ink, 2)))?;
                let dot = curve.ink.stand_in().filled();
                chart.draw_series(points().map(|point| Circle::new(point, fine(4), dot)))?
            }
            Shape::Area => {
                let faint = curve.ink.stand_in().mix(0.12);
                let area = AreaSeries::new(points(), plot.y.low(), faint);
                chart.draw_series(area.border_style(pen(curve.ink, 2)))?
            }
            Shape::Dashes => chart.draw_series(dashes(curve))?,
        };
    }
    Ok(())
}

fn pen(ink: Ink, pixels: u32) -> ShapeStyle {
    ink.stand_in().stroke_width(pixels * FINE)
}

/// A level line, cut into pieces.
fn dashes(curve: &Curve) -> Vec<PathElement<(f64, f64)>> {
    const PIECES: usize = 60;
    let [(from, level), .., (to, _)] = curve.points[..] else { return Vec::new() };
    let at = |piece: usize| (from + (to - from) * piece as f64 / PIECES as f64, level);
    let style = pen(curve.ink, 1);
    (0..PIECES).step_by(2).map(|piece| PathElement::new([at(piece), at(piece + 1)], style)).collect()
}

/// Puts the page's colours where their stand-ins are, and the element's own size to the page's rule.
fn in_page_colours(drawn: &str, plot: &Plot, size: Size) -> String {
    let mut svg = drawn.to_owned();
    for ink in Ink::ALL {
        let RGBColor(red, green, blue) = ink.stand_in();
        for what in ["fill", "stroke"] {
            let (stand_in, own) = (
                format!("{what}=\"#{red:02X}{green:02X}{blue:02X}\""),
                format!("style=\"{what}:var(--{})\"", ink.name()),
            );
            svg = svg.replace(&stand_in, &own);
        }
    }
    let (width, height) = (size.width * FINE, size.height * FINE);
    let head = format!("<svg viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{}\">", plot.title);
    let body = svg.split_once('>').map_or("", |(_, body)| body);
    format!("{head}{}", body.trim_end())
}
